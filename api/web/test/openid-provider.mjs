// A certified OpenID provider on ::1 for the tests: one client, whoever types a login, no memory beyond the process.
// Prints its issuer once it listens. Usage: node openid-provider.mjs REDIRECT_URI
import { createServer } from "node:http";
import { once } from "node:events";
import Provider from "oidc-provider";

const [redirectUri] = process.argv.slice(2);
const server = createServer();
server.listen(0, "::1");
await once(server, "listening");
const issuer = `http://[::1]:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "lichtmast",
      client_secret: "a secret of the tests alone",
      redirect_uris: [redirectUri],
      response_types: ["code"],
      grant_types: ["authorization_code"],
    },
  ],
  claims: { openid: ["sub"], email: ["email", "email_verified", "tid"] },
  pkce: { required: () => true },
  cookies: { keys: ["of the tests alone"] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@example.nl`, email_verified: id !== "unverified", tid: "hilversum" }),
  }),
});
server.on("request", provider.callback());
console.log(issuer);
