import { render } from "preact";
import { App } from "./app";
import { currentTheme, showTheme } from "./session";
import "./style.css";

showTheme(currentTheme());
const place = document.getElementById("console");
if (place !== null) render(<App />, place);
