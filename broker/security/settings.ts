/** Settings of security: TLS, who may connect, identity provider, quotas. docs/operations/security.md tells how they go together. */
import { choice, integer, reloadable, text } from '../setting.ts'

const quotaMax = 1_000_000_000_000

export const securitySettings = {
  security: choice(
    ['off', 'on'],
    'on = nobody may do anything without a right to it. off = everybody may do everything.',
  ),
  allowInsecure: choice(
    ['nothing', 'plaintext', 'everything'],
    'What may be missing where others than this machine can connect: plaintext = TLS, everything = security too.',
  ),
  adminTokenFile: text(
    '',
    'File with the token that may do everything. Empty = admin.token in the data directory, made at the first start with security on; in a cluster it is named, and the same everywhere.',
  ),

  tlsCertificateFile: text(
    '',
    'PEM: certificate of the broker, with those between it and the authority. Empty = no TLS.',
  ),
  tlsKeyFile: text('', 'PEM: key of that certificate.'),
  tlsClientAuthorityFile: text('', 'PEM: whoever has a certificate of this authority is certificate:COMMON-NAME.'),
  tlsClientCertificates: choice(
    ['none', 'wanted', 'required'],
    'Client certificates: wanted = taken where there is one, required = nobody connects without.',
  ),
  tlsCheckIntervalMs: integer(
    'ms',
    10_000,
    [100, 3_600_000],
    'How often the TLS files are looked at; changed ones are in use from the next connection on. SIGHUP looks at once.',
  ),

  oidcIssuer: text('', 'Issuer (iss) of the identity provider whose tokens are taken. Empty = none.'),
  oidcAudience: text('', 'What its tokens must be made for (aud).'),
  oidcKeysUrl: text('', 'Where its public keys are (JWKS); https.'),
  oidcPrincipalClaim: text('sub', 'The claim that names the principal, oidc:VALUE.'),
  oidcGroupsClaim: text(
    '',
    'The claim with a list of groups, each of which may have grants as group:NAME. Empty = none.',
  ),

  quotaRequestsPerSecond: reloadable(
    integer('count', 0, [0, quotaMax], 'Requests a second of each principal without a quota of its own; 0 = no limit.'),
  ),
  quotaInBytesPerSecond: reloadable(
    integer('bytes', 0, [0, quotaMax], 'Request bytes a second of such a principal; beyond, it is read from later.'),
  ),
  quotaOutBytesPerSecond: reloadable(
    integer('bytes', 0, [0, quotaMax], 'Reply bytes a second of such a principal; beyond, it is read from later.'),
  ),
  quotaConnections: reloadable(
    integer('count', 0, [0, 100_000], 'Connections of such a principal to the native port; more are refused.'),
  ),
}
