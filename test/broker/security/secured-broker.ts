/** SecuredBroker: a broker with security on, the client that may do everything, and clients of whoever a test makes. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Broker } from '../../../broker/broker.ts'
import type { BrokerFoundation } from '../../../broker/parts.ts'
import type { BrokerConfig } from '../../../broker/config.ts'
import { connect } from '../../../client/index.ts'
import type { ClientCredentials, ConnectOptions, Grant, Playhead } from '../../../client/index.ts'
import { TemporaryDirectory } from '../../temporary-directory.ts'

export interface SecuredBroker extends AsyncDisposable {
  readonly broker: Broker
  readonly directory: string
  readonly adminToken: string
  readonly admin: Playhead
  /** Closed with the broker. */
  connect(credentials: ClientCredentials, options?: ConnectOptions): Promise<Playhead>
  /** A user with these rights, and his client. */
  user(name: string, grants?: readonly Grant[]): Promise<Playhead>
  /** An HTTP request with a bearer token, or without. */
  readonly http: (path: string, token?: string, init?: RequestInit) => Promise<Response>
}

export const passwordOf = (user: string): string => `${user}'s pässword`

export async function runSecured(
  settings: Partial<BrokerConfig> = {},
  foundation: BrokerFoundation = {},
): Promise<SecuredBroker> {
  await using setUp = new AsyncDisposableStack()
  const { path } = setUp.use(await TemporaryDirectory.make())
  const secured = { data: path, port: 0, httpPort: 0, security: 'on', ...settings } as const
  const broker = setUp.use(await Broker.start(secured, foundation))
  const adminToken = (await readFile(settings.adminTokenFile || join(path, 'admin.token'), 'utf8')).trim()
  const open: SecuredBroker['connect'] = (credentials, options = {}) =>
    connect(`localhost:${broker.port}`, { timeoutMs: 3_000, credentials, ...options })
  const admin = setUp.use(await open({ token: adminToken }))
  const tearDown = setUp.move()
  const connectTo: SecuredBroker['connect'] = async (credentials, options) =>
    tearDown.use(await open(credentials, options))
  return {
    broker,
    directory: path,
    adminToken,
    admin,
    connect: connectTo,
    async user(name, grants = []) {
      await admin.access.createUser(name, passwordOf(name))
      if (grants.length > 0) await admin.access.grant(`user:${name}`, grants)
      return connectTo({ user: name, password: passwordOf(name) })
    },
    http: (target, token, init = {}) =>
      fetch(`http://127.0.0.1:${broker.httpPort}${target}`, {
        ...init,
        headers: new Headers([
          ...new Headers(init.headers),
          ...(token === undefined ? [] : [['authorization', `Bearer ${token}`] as [string, string]]),
        ]),
      }),
    [Symbol.asyncDispose]: () => tearDown.disposeAsync(),
  }
}
