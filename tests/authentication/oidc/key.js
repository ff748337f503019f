// Prints a new private key (ES256) as a JWK with the name that the first argument gives.
import { generateKeyPairSync } from 'node:crypto';

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const key = { ...privateKey.export({ format: 'jwk' }), kid: process.argv[2], alg: 'ES256', use: 'sig' };
console.log(JSON.stringify(key));
