// An OpenID Connect issuer for tests. Its settings are one JSON value, the first argument:
//   port      where it listens, on 127.0.0.1
//   tls       {key, cert} as files; absent: http
//   issuer    what it says that it is; absent: the URL that it listens at
//   audience  of its access tokens
//   keys      private keys as JWKs; the first one signs
// It prints "ready" once it listens. Clients: "edge" with the secret "secret" (client_credentials).
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { Provider } from 'oidc-provider';

const settings = JSON.parse(process.argv[2]);
const url = `${settings.tls ? 'https' : 'http'}://127.0.0.1:${settings.port}`;
const resource = 'urn:tidewait';

const provider = new Provider(settings.issuer ?? url, {
  jwks: { keys: settings.keys },
  clients: [{
    client_id: 'edge',
    client_secret: 'secret',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    id_token_signed_response_alg: 'ES256',
  }],
  scopes: ['poll'],
  extraTokenClaims: () => ({ groups: ['nodes', 'edge'] }),
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      getResourceServerInfo: () => ({
        scope: 'poll',
        audience: settings.audience,
        accessTokenFormat: 'jwt',
        accessTokenTTL: 600,
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
});

const server = settings.tls
  ? https.createServer({ key: readFileSync(settings.tls.key), cert: readFileSync(settings.tls.cert) }, provider.callback())
  : http.createServer(provider.callback());
server.listen(settings.port, '127.0.0.1', () => console.log('ready'));
