// Requests to the server: with the token, errors as sentences, and patience while the server starts again.

const TRIES = 20, PAUSE = 1000;
const KEY = "sam3port-token";
let notify = () => {};

const fromAddress = new URLSearchParams(location.hash.slice(1)).get("token");
if (fromAddress) {
  sessionStorage.setItem(KEY, fromAddress);
  history.replaceState(null, "", location.pathname);
}

export function serverGone(told) { notify = told; }

export async function api(path, { method = "GET", body, type, signal, keepalive, as = "json" } = {}) {
  for (let tried = 1; ; tried++) {
    const headers = {}, token = sessionStorage.getItem(KEY);
    if (token) headers.Authorization = `Bearer ${token}`;
    if (type) headers["Content-Type"] = type;
    let response;
    try {
      response = await fetch(`v1/${path}`, { method, body, headers, signal, keepalive });
    } catch (error) {
      if (error.name === "AbortError" || keepalive) throw error;
      if (tried >= TRIES) throw new Error("The server does not answer.");
      notify(true);
      await new Promise((go) => setTimeout(go, PAUSE));
      continue;
    }
    if (tried > 1) notify(false);
    if (response.ok) return response.status === 204 ? null : response[as]();
    if (response.status === 401) { await login(); continue; }
    if ([429, 503].includes(response.status) && tried < TRIES) {
      await new Promise((go) => setTimeout(go, 1000 * Number(response.headers.get("Retry-After") ?? 1)));
      signal?.throwIfAborted();
      continue;
    }
    const { error } = await response.json().catch(() => ({ error: { problem: `The server answered ${response.status}` } }));
    throw Object.assign(new Error([error.problem, error.remedy].filter(Boolean).join(": ")), { status: response.status });
  }
}

function login() {
  const dialog = document.getElementById("login"), field = document.getElementById("token");
  if (!dialog.open) dialog.showModal();
  return new Promise((go) => dialog.addEventListener("close", () => { sessionStorage.setItem(KEY, field.value); go(); }, { once: true }));
}
