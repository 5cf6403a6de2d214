// The form that asks for the server's token, and the button that ends the session. It keeps nothing of the token.

import { find, setText, setVisible } from "../dom.js";
import { Session } from "../session.js";

/** @import {SessionStatus} from "../session.js" */

/**
 * Create the session with `server`, its form in `dialog`, and its button in `root`.
 * @param {HTMLElement} root
 * @param {HTMLDialogElement} dialog
 * @param {{http: (path: string) => string}} server
 * @param {() => void} onOpen when a token has been taken
 */
export function createSession(root, dialog, server, onOpen) {
  const paint = createLogin(root, dialog, {
    onLogIn: (token) => session.logIn(token),
    onLogOut: () => session.logOut(),
  });
  const session = new Session(server, document.baseURI, { onChange: () => paint(session.status), onOpen });
  return session;
}

/**
 * Return what paints the status of a session.
 * @param {HTMLElement} root
 * @param {HTMLDialogElement} dialog
 * @param {object} options
 * @param {(token: string) => void} options.onLogIn
 * @param {() => void} options.onLogOut
 * @returns {(status: SessionStatus) => void}
 */
function createLogin(root, dialog, { onLogIn, onLogOut }) {
  const logOut = find(root, ".log-out");
  const error = find(dialog, ".login-error");
  /** @type {HTMLInputElement} */
  const field = find(dialog, ".login-token");
  /** @type {HTMLButtonElement} */
  const submit = find(dialog, ".login-submit");

  logOut.addEventListener("click", onLogOut);
  let isWanted = false;
  // Without a token there is nothing behind it to return to. Browsers let a second Escape close any dialog.
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.addEventListener("close", () => isWanted && dialog.showModal());
  find(dialog, "form").addEventListener("submit", (event) => {
    event.preventDefault(); // not sent by the browser: it would be a new page
    onLogIn(field.value.trim());
  });

  return ({ isNeeded, isSending, canLogOut, reason }) => {
    setVisible(logOut, canLogOut && !isNeeded);
    setText(error, reason);
    setVisible(error, reason !== "");
    submit.disabled = isSending;
    isWanted = isNeeded;
    if (isNeeded === dialog.open) return;
    field.value = "";
    if (isNeeded) dialog.showModal();
    else dialog.close();
  };
}
