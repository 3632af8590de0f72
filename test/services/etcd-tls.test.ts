/**
 * A broker and a real etcd as operators have it: with a certificate of an authority of its own, for clients with certificates of that authority only (etcd's
 * gateway shows etcd's own to itself, so it cannot be another one), with users and passwords. Whoever lacks something of that is told what; certificates that are
 * renewed on disk are taken without a restart.
 */
import assert from 'node:assert/strict'
import { copyFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { connect } from '../../client/index.ts'
import { readFileSync } from 'node:fs'
import { systemClock } from '../../platform/clock.ts'
import { EtcdGateway } from '../../replication/etcd-gateway.ts'
import { makeAuthority, makeCertificate } from '../certificates.ts'
import type { Pair } from '../certificates.ts'
import { ServedBroker } from '../e2e/served-broker.ts'
import { EtcdServer, waitMs } from '../replication/etcd-server.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'

interface Files {
  readonly authority: Pair
  readonly etcd: Pair
  readonly client: Pair
}

async function makeFiles(directory: string): Promise<Files> {
  await mkdir(directory, { recursive: true })
  const authority = await makeAuthority(directory, 'authority')
  const etcd = await makeCertificate(directory, authority, { name: 'etcd' })
  return { authority, etcd, client: await makeCertificate(directory, authority, { name: '', file: 'client' }) }
}

/** As an operator would: a root user with a password, then nobody without one. */
async function enableUsers(server: EtcdServer, { authority, client }: Files): Promise<void> {
  const text = (path: string) => readFileSync(path, 'utf8')
  const tls = { ca: text(authority.certificate), certificate: text(client.certificate), key: text(client.key) }
  const gateway = new EtcdGateway({ members: [server.member], tls }, systemClock)
  await gateway.change('/v3/auth/user/add', { name: 'root', password: 'secret' })
  await gateway.change('/v3/auth/role/add', { name: 'root' })
  await gateway.change('/v3/auth/user/grant', { user: 'root', role: 'root' })
  await gateway.change('/v3/auth/enable', {})
  gateway.close()
}

async function copyFiles(from: Files, to: Files): Promise<void> {
  for (const kind of ['authority', 'etcd', 'client'] as const) {
    await copyFile(from[kind].certificate, to[kind].certificate)
    await copyFile(from[kind].key, to[kind].key)
  }
}

test('etcd with TLS, client certificates and users: served with all of them, refused by name without; renewed files are taken', async () => {
  await using directory = await TemporaryDirectory.make()
  const files = await makeFiles(join(directory.path, 'now'))
  const others = await makeFiles(join(directory.path, 'others'))
  const { authority, client } = files
  const certificates = { own: files.etcd, clientAuthority: authority.certificate }
  await using etcd = await EtcdServer.start({ certificates })
  let runs = 0
  const serve = (flags: readonly string[], scheme = 'etcds') => {
    const cluster = ['--cluster', `${scheme}://${etcd.member}`, '--cluster-session-ms', '2000']
    return ServedBroker.start(join(directory.path, `broker-${++runs}`), [...cluster, ...flags])
  }
  const refusal = (flags: readonly string[], scheme?: string): Promise<string> =>
    serve(flags, scheme).then(
      async (broker) => {
        await broker.kill()
        return `served at ${broker.server}`
      },
      (error: unknown) => String(error),
    )
  const trust = (pair: Pair) => ['--cluster-authority-file', pair.certificate]
  const show = ({ certificate, key }: Pair) => ['--cluster-certificate-file', certificate, '--cluster-key-file', key]
  const user = ['--cluster-user', 'root', '--cluster-password', 'secret']

  const tlsRefused =
    /metadata-store-refused: .*wanted a connection with TLS; check the authority \(--cluster-authority-file\)/
  assert.match(await refusal([...trust(others.authority), ...show(client)]), tlsRefused)
  assert.match(await refusal(show(client)), tlsRefused)
  assert.match(await refusal(trust(authority)), tlsRefused)
  assert.match(await refusal([...trust(authority), ...show(others.client)]), tlsRefused)
  assert.match(await refusal([], 'etcd'), /unavailable: .*whether it speaks TLS \(etcds:\/\/\)/)

  await enableUsers(etcd, files)
  assert.match(
    await refusal([...trust(authority), ...show(client)]),
    /metadata-store-refused: .*set the user and the password/,
  )
  const named = await makeCertificate(directory.path, authority, { name: 'root' })
  assert.match(
    await refusal([...trust(authority), ...show(named), ...user]),
    /metadata-store-refused: .*with an empty subject/,
  )
  await using broker = await serve([...trust(authority), ...show(client), ...user, '--tls-check-interval-ms', '100'])
  const playhead = await connect(`playhead://${broker.server}`)
  await playhead.admin.createTopic('carts')
  await playhead.topic('carts').stream('one').append({ type: 'Added', data: {} })

  // Everything anew, at the same paths: etcd reads it when it starts, the broker by itself.
  await etcd.kill()
  await copyFiles(others, files)
  await etcd.start()
  while (!broker.errors.includes('TLS to etcd: new files in use')) await waitMs(50)
  await playhead.admin.createTopic('orders')
  await playhead.topic('orders').stream('one').append({ type: 'Added', data: {} })
  await playhead.close()
})
