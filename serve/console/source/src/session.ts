/** What this tab remembers: the key, until it is closed, and the theme. */

const KEY = "onegate.key";
const THEME = "onegate.theme";

export type Theme = "auto" | "light" | "dark";

export const currentKey = (): string | null => sessionStorage.getItem(KEY);

export function rememberKey(key: string | null): void {
  if (key === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, key);
}

export function currentTheme(): Theme {
  const told = localStorage.getItem(THEME);
  return told === "light" || told === "dark" ? told : "auto";
}

/** Shows the page in `theme`, from now on. */
export function chooseTheme(theme: Theme): void {
  localStorage.setItem(THEME, theme);
  showTheme(theme);
}

export function showTheme(theme: Theme): void {
  if (theme === "auto") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme;
}
