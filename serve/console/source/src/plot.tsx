/** A small plot of figures over the last minutes, in SVG, so that it follows the theme. The same in words for those who
 * don't see it. */

import type { JSX } from "preact";
import { useId, useState } from "preact/hooks";

export interface Line {
  name: string;
  /** One for each time; null where there was none. */
  values: (number | null)[];
}

const [WIDTH, HEIGHT] = [360, 120];

export function Plot({
  title,
  times,
  lines,
  format,
  top,
}: {
  title: string;
  times: number[];
  lines: Line[];
  format: (value: number) => string;
  /** The largest value that there can be, where there is one. */
  top?: number;
}): JSX.Element {
  const id = useId();
  const [hovered, setHovered] = useState<number | null>(null);
  const drawn = lines.filter((line) => line.values.some((each) => each !== null));
  const largest = top ?? nice(Math.max(0, ...drawn.flatMap((line) => line.values.map((each) => each ?? 0))));
  const from = times[0] ?? 0;
  const span = Math.max(1, (times.at(-1) ?? 0) - from);
  const x = (index: number): number => (((times[index] ?? from) - from) / span) * WIDTH;
  const y = (value: number): number => HEIGHT - (Math.min(value, largest) / largest) * HEIGHT;
  const shown = hovered !== null && hovered < times.length ? hovered : times.length - 1;
  const nearest = (event: MouseEvent & { currentTarget: SVGSVGElement }): void => {
    const box = event.currentTarget.getBoundingClientRect();
    const time = from + ((event.clientX - box.left) / box.width) * span;
    setHovered(times.reduce((best, each, i) => (Math.abs(each - time) < Math.abs((times[best] ?? 0) - time) ? i : best), 0));
  };
  return (
    <figure class="plot" aria-labelledby={id}>
      <figcaption id={id}>{title}</figcaption>
      {drawn.length === 0 ? (
        <p class="empty">{times.length < 2 ? "Waiting for a second reading …" : "No figures yet."}</p>
      ) : (
        <>
          <div class="plot-area">
            <span class="plot-top" aria-hidden="true">
              {format(largest)}
            </span>
            <svg
              viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
              preserveAspectRatio="none"
              aria-hidden="true"
              onMouseMove={nearest}
              onMouseLeave={() => setHovered(null)}
            >
              <line class="grid" x1="0" x2={WIDTH} y1={HEIGHT / 2} y2={HEIGHT / 2} />
              {drawn.map((line, i) => (
                <path key={line.name} class={`line line-${i % 6}`} d={pathOf(line.values, x, y)} />
              ))}
              {hovered !== null && <line class="cursor" x1={x(shown)} x2={x(shown)} y1="0" y2={HEIGHT} />}
            </svg>
          </div>
          <ul class="legend">
            {drawn.map((line, i) => {
              const value = line.values[shown];
              return (
                <li key={line.name}>
                  <span class={`swatch swatch-${i % 6}`} aria-hidden="true" />
                  <span class="legend-name">{line.name}</span>
                  <span class="legend-figure">{value === null || value === undefined ? "none" : format(value)}</span>
                </li>
              );
            })}
          </ul>
          <p class="plot-time">{hovered === null ? "now" : new Date(times[shown] ?? 0).toLocaleTimeString("en-GB")}</p>
        </>
      )}
    </figure>
  );
}

/** The path of a line, with gaps where there are no figures. A single figure is a dot. */
export function pathOf(values: (number | null)[], x: (index: number) => number, y: (value: number) => number): string {
  let path = "";
  values.forEach((value, i) => {
    if (value === null) return;
    const [right, down] = [x(i).toFixed(1), y(value).toFixed(1)];
    const goesOn = i > 0 && values[i - 1] !== null;
    path += goesOn ? `L${right} ${down}` : `M${right} ${down}h0.1`;
  });
  return path;
}

/** The next of 1, 2, 5 times a power of ten. */
export function nice(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((each) => each * power >= value) ?? 10) * power;
}
