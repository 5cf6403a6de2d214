// The form that asks for the server's token. It keeps nothing of the token.

import { find, setText, setVisible } from "../dom.js";

/** @import {SessionStatus} from "../session.js" */

/**
 * Return what paints the status of a session.
 * @param {HTMLDialogElement} dialog
 * @param {(token: string) => void} onLogIn
 * @returns {(status: SessionStatus) => void}
 */
export function createLogin(dialog, onLogIn) {
  const error = find(dialog, ".login-error");
  /** @type {HTMLInputElement} */
  const field = find(dialog, ".login-token");
  /** @type {HTMLButtonElement} */
  const submit = find(dialog, ".login-submit");

  let isWanted = false;
  // Without a token there is nothing behind it to return to. Browsers let a second Escape close any dialog.
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.addEventListener("close", () => isWanted && dialog.showModal());
  find(dialog, "form").addEventListener("submit", (event) => {
    event.preventDefault(); // not sent by the browser: it would be a new page
    onLogIn(field.value.trim());
  });

  return ({ isNeeded, isSending, reason }) => {
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
