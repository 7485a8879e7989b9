/** A file to send as it is: dragged here, or chosen. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { bytes } from "../words";

/** What the management port takes. */
const MOST_BYTES = 8 * 1024 * 1024;

export function BodyForm({
  pictures,
  busy,
  onSend,
}: {
  pictures: boolean;
  busy: boolean;
  onSend: (body: Blob, type: string) => void;
}): JSX.Element {
  const [file, setFile] = useState<File | null>(null);
  const [over, setOver] = useState(false);
  const isTooLarge = file !== null && file.size > MOST_BYTES;
  const take = (files: FileList | null | undefined): void => {
    const first = files?.[0];
    if (first !== undefined) setFile(first);
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (file !== null) onSend(file, file.type || "application/octet-stream");
      }}
    >
      <div
        class={`drop ${over ? "over" : ""}`}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault();
          setOver(false);
          take(event.dataTransfer?.files);
        }}
      >
        <label>
          {pictures ? "Picture" : "File"}: drag it here, or choose one
          <input
            type="file"
            {...(pictures ? { accept: "image/*" } : {})}
            onChange={(event) => take(event.currentTarget.files)}
          />
        </label>
        {file !== null && (
          <p>
            {file.name}, {bytes(file.size)}
          </p>
        )}
        {file !== null && pictures && <Preview file={file} />}
      </div>
      {isTooLarge && (
        <p class="trouble" role="alert">
          The file has {bytes(file.size)} and this page sends {bytes(MOST_BYTES)} at most; the endpoint's own port takes more.
        </p>
      )}
      <div class="actions">
        <button type="submit" class="main" disabled={file === null || isTooLarge || busy}>
          Send
        </button>
      </div>
    </form>
  );
}

/** Drawn from the file's own bytes: the page loads no picture from anywhere. */
function Preview({ file }: { file: File }): JSX.Element {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    let ended = false;
    setFailed(false);
    createImageBitmap(file).then(
      (picture) => {
        const shown = canvas.current;
        if (ended || shown === null) return picture.close();
        const scale = Math.min(1, 240 / Math.max(picture.width, picture.height));
        shown.width = Math.max(1, Math.round(picture.width * scale));
        shown.height = Math.max(1, Math.round(picture.height * scale));
        shown.getContext("2d")?.drawImage(picture, 0, 0, shown.width, shown.height);
        picture.close();
      },
      () => !ended && setFailed(true),
    );
    return () => {
      ended = true;
    };
  }, [file]);
  if (failed) return <p class="hint">This browser can't show the file; it is sent as it is.</p>;
  return <canvas ref={canvas} width="1" height="1" class="preview" role="img" aria-label={`The picture ${file.name}`} />;
}
