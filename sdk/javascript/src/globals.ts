// What the build puts in the place of globals, where a suite or one of its libraries uses them. What
// is not used is not in the bundle, so a suite without `fetch` does not import wasi:http.

export { fetch } from "./fetch.js";
export { default as process } from "./process.js";
