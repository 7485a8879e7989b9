/** The frame of the page: navigation, who asks, whether the controller answers, and the page that the address names. */

import type { JSX } from "preact";
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { api } from "./api";
import { ConsoleContext, type Console } from "./context";
import type { Caller } from "./documents";
import { useLive, type Live } from "./live";
import { Login } from "./login";
import { FailuresPage } from "./pages/failures";
import { HistoryPage } from "./pages/history";
import { KeysPage } from "./pages/keys";
import { LoadPage } from "./pages/load";
import { ModelPage } from "./pages/model";
import { ModelsPage } from "./pages/models";
import { RolloutsPage } from "./pages/rollouts";
import { VersionPage } from "./pages/version";
import { Empty, Trouble } from "./parts";
import { forgetReadings } from "./readings";
import { routeOf, type Route } from "./routes";
import { chooseTheme, currentKey, currentTheme, rememberKey, type Theme } from "./session";

const STATE_EVERY_MS = 2000;
const SAID_FOR_MS = 8000;

export function App(): JSX.Element {
  const [round, setRound] = useState(0);
  const route = useRoute();
  const state = useLive(`state ${round}`, api.state, STATE_EVERY_MS);
  const caller = useLive(`caller ${round}`, api.caller, null);
  const [said, say] = useSaid();
  const main = useRef<HTMLElement>(null);
  useTitleAndFocus(route, main);

  const useKey = useCallback((key: string | null): void => {
    rememberKey(key);
    forgetReadings();
    setRound((before) => before + 1);
  }, []);
  const refused = [state.error, caller.error].find((each) => each?.needsKey) ?? null;
  const known = useMemo(
    (): Console | null =>
      state.value === null || caller.value === null
        ? null
        : { state: state.value, caller: caller.value, refresh: state.refresh, say },
    [state.value, caller.value, state.refresh, say],
  );
  const failing = state.value?.models.filter((row) => row.state === "FAILED").length ?? 0;
  return (
    <>
      <a class="skip" href="#content" onClick={(event) => skipTo(event, main.current)}>
        Skip to the content
      </a>
      <Header route={route} failing={failing} caller={caller.value} onLeave={() => useKey(null)} />
      <Away live={state} stopping={state.value?.stopping ?? false} />
      <main id="content" ref={main} tabIndex={-1}>
        {refused !== null ? (
          <Login key={round} why={whyLogin(refused.message)} onKey={useKey} />
        ) : known !== null ? (
          <ConsoleContext.Provider value={known}>
            <Page route={route} />
          </ConsoleContext.Provider>
        ) : (
          <NotYet error={state.error ?? caller.error} />
        )}
      </main>
      <p class={`said ${said === "" ? "silent" : ""}`} role="status">
        {said}
      </p>
    </>
  );
}

function whyLogin(message: string): string {
  return currentKey() === null ? "This gateway answers only those who say who they are." : `The key that was used is refused: ${message}.`;
}

function NotYet({ error }: { error: Live<unknown>["error"] }): JSX.Element {
  return (
    <>
      <h1>onegate</h1>
      {error === null ? <Empty>Asking the controller …</Empty> : <Trouble error={error} />}
    </>
  );
}

function Page({ route }: { route: Route }): JSX.Element {
  switch (route.page) {
    case "models":
      return <ModelsPage />;
    case "model":
      return <ModelPage model={route.model} tab={route.tab} />;
    case "version":
      return <VersionPage model={route.model} version={route.version} />;
    case "rollouts":
      return <RolloutsPage />;
    case "failures":
      return <FailuresPage />;
    case "load":
      return <LoadPage />;
    case "history":
      return <HistoryPage />;
    case "keys":
      return <KeysPage />;
    default:
      return (
        <>
          <h1>No such page</h1>
          <p>
            <a href="#/">All models</a>
          </p>
        </>
      );
  }
}

const LINKS: [string, string, Route["page"][]][] = [
  ["#/", "Models", ["models", "model", "version"]],
  ["#/rollouts", "Rollouts", ["rollouts"]],
  ["#/failures", "Failures", ["failures"]],
  ["#/load", "Load", ["load"]],
  ["#/history", "History", ["history"]],
  ["#/keys", "Keys", ["keys"]],
];

function Header({
  route,
  failing,
  caller,
  onLeave,
}: {
  route: Route;
  failing: number;
  caller: Caller | null;
  onLeave: () => void;
}): JSX.Element {
  const [theme, setTheme] = useState<Theme>(currentTheme);
  return (
    <header>
      <a class="brand" href="#/">
        onegate
      </a>
      <nav aria-label="Main">
        {LINKS.map(([href, name, pages]) => (
          <a key={href} href={href} aria-current={pages.includes(route.page) ? "page" : undefined}>
            {name}
            {name === "Failures" && failing > 0 && <span class="failing">{failing}</span>}
          </a>
        ))}
      </nav>
      <div class="who">
        {caller !== null && caller.name !== "" && <span class="caller">{caller.name}</span>}
        {currentKey() !== null && (
          <button type="button" class="plain" onClick={onLeave}>
            Forget the key
          </button>
        )}
        <label class="theme">
          <span class="visually-hidden">Theme</span>
          <select
            value={theme}
            onChange={(event) => {
              const chosen = event.currentTarget.value as Theme;
              chooseTheme(chosen);
              setTheme(chosen);
            }}
          >
            <option value="auto">Theme: system</option>
            <option value="light">Theme: light</option>
            <option value="dark">Theme: dark</option>
          </select>
        </label>
      </div>
    </header>
  );
}

/** That what is shown is old, or about to end. */
function Away({ live, stopping }: { live: Live<unknown>; stopping: boolean }): JSX.Element {
  const isAway = live.error !== null && !live.error.needsKey && live.value !== null;
  return (
    <div role="alert">
      {isAway && (
        <p class="banner">
          The controller does not answer ({live.error?.message}). Shown is what it said at{" "}
          {new Date(live.at ?? 0).toLocaleTimeString("en-GB")}; it is asked again every few seconds. Models go on answering
          meanwhile.
        </p>
      )}
      {stopping && !isAway && <p class="banner">The gateway is stopping.</p>}
    </div>
  );
}

function useRoute(): Route {
  const [hash, setHash] = useState(location.hash);
  useLayoutEffect(() => {
    const follow = (): void => setHash(location.hash);
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  return useMemo(() => routeOf(hash), [hash]);
}

/**
 * Names the page, and after a change of it brings keyboard and screen reader to its beginning: before the page is painted,
 * for a key that is pressed at once belongs to what is seen.
 */
function useTitleAndFocus(route: Route, main: { current: HTMLElement | null }): void {
  const before = useRef<string | null>(null);
  useLayoutEffect(() => {
    const title = titleOf(route);
    document.title = `${title} · onegate`;
    if (before.current !== null && before.current !== title) {
      main.current?.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
    before.current = title;
  }, [route]);
}

function titleOf(route: Route): string {
  if (route.page === "model") return `${route.model}, ${route.tab}`;
  if (route.page === "version") return `${route.model}, version ${route.version}`;
  return route.page === "missing" ? "No such page" : `${route.page[0]?.toUpperCase() ?? ""}${route.page.slice(1)}`;
}

function useSaid(): [string, (text: string) => void] {
  const [said, setSaid] = useState("");
  useEffect(() => {
    if (said === "") return undefined;
    const timer = setTimeout(() => setSaid(""), SAID_FOR_MS);
    return () => clearTimeout(timer);
  }, [said]);
  return [said, setSaid];
}

function skipTo(event: Event, main: HTMLElement | null): void {
  // The address stands for a page; a jump within it must not change it.
  event.preventDefault();
  main?.focus();
}
