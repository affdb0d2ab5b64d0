// Passkeys, and the secret of a link: what a form alone cannot do. Everything else on these pages works without it.
import { word } from "./page";

type Question = { challenge: string; publicKey: Record<string, unknown> };

async function post(path: string, body?: unknown): Promise<Response> {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: body === undefined ? null : JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  return response;
}

// parse…FromJSON and toJSON are of WebAuthn level 3, and not yet in every list of types.
const Credential = window.PublicKeyCredential as unknown as
  | {
      parseCreationOptionsFromJSON(options: unknown): PublicKeyCredentialCreationOptions;
      parseRequestOptionsFromJSON(options: unknown): PublicKeyCredentialRequestOptions;
    }
  | undefined;

async function signIn(button: HTMLElement): Promise<void> {
  const question: Question = await (await post("/v1/session/passkey-challenge")).json();
  const publicKey = Credential!.parseRequestOptionsFromJSON(question.publicKey);
  const credential = await navigator.credentials.get({ publicKey });
  await post("/v1/session/passkey", { challenge: question.challenge, credential });
  location.assign(button.dataset.next ?? "/account");
}

async function add(): Promise<void> {
  const question: Question = await (await post("/v1/account/passkey-challenge")).json();
  const publicKey = Credential!.parseCreationOptionsFromJSON(question.publicKey);
  const credential = await navigator.credentials.create({ publicKey });
  const name = `Passkey ${new Date().toISOString().slice(0, 10)}`;
  await post("/v1/account/passkeys", { challenge: question.challenge, credential, name });
  location.assign(location.pathname + location.search);
}

function offer(id: string, work: (button: HTMLElement) => Promise<void>): void {
  const button = document.getElementById(id) as HTMLButtonElement | null;
  // Passkeys belong to host names: at an address no browser has one.
  if (!button || !Credential?.parseCreationOptionsFromJSON || /^\[|^[\d.]+$/.test(location.hostname)) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const fault = document.getElementById("passkey-fault");
    button.disabled = true;
    try {
      await work(button);
    } catch {
      if (fault) {
        fault.textContent = word("passkey_failed");
        fault.hidden = false;
      }
    } finally {
      button.disabled = false;
    }
  });
}

offer("passkey-sign-in", signIn);
offer("passkey-add", add);

// The secret of a link stands behind the #, which browsers send to nobody. It leaves the address bar and the history.
const code = document.querySelector<HTMLInputElement>('form[action="/first-run"] #code, form[action="/invitation"] #code');
if (code && location.hash.length > 1) {
  code.value = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", location.pathname + location.search);
  document.querySelector<HTMLInputElement>("#login, #password")?.focus();
}
