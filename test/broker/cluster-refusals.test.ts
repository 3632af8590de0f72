/** What a broker of a cluster cannot have yet is refused by name, before anything is opened or made. */
import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { test } from 'node:test'
import { Broker } from '../../broker/broker.ts'
import { asRefusal, noBrokers } from '../../broker/brokers.ts'
import type { BrokerConfig } from '../../broker/config.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'

const refused: readonly { readonly given: Partial<BrokerConfig>; readonly setting: string }[] = [
  { given: { security: 'on' }, setting: 'clusterSecretFile' },
  { given: { security: 'on', clusterSecretFile: 'secret' }, setting: 'adminTokenFile' },
  { given: { clusterBrokerAuthorityFile: 'authority.pem' }, setting: 'clusterBrokerAuthorityFile' },
  { given: { clusterSecretFile: 'no-such-file' }, setting: 'clusterSecretFile' },
  { given: { clusterCertificateFile: 'cert.pem' }, setting: 'clusterKeyFile' },
  { given: { clusterKeyFile: 'key.pem' }, setting: 'clusterCertificateFile' },
  { given: { clusterAuthorityFile: 'authority.pem' }, setting: 'clusterAuthorityFile' },
  { given: { clusterCertificateFile: 'cert.pem', clusterKeyFile: 'key.pem' }, setting: 'clusterCertificateFile' },
  { given: { cluster: 'etcds://127.0.0.1:1', clusterAuthorityFile: 'none.pem' }, setting: 'clusterAuthorityFile' },
  { given: { tier: 's3://bucket/prefix?conditional=no' }, setting: 'tier' },
  { given: { readOnly: 'yes' }, setting: 'readOnly' },
]

for (const { given, setting } of refused) {
  test(`cluster: refused together with ${JSON.stringify(given)}`, async () => {
    await using directory = await TemporaryDirectory.make()
    const config = { data: directory.path, port: 0, httpPort: 0, cluster: 'etcd://127.0.0.1:1', ...given }
    await assert.rejects(Broker.start(config), (error: Error & { code?: string; details?: { setting?: string } }) => {
      assert.equal(error.code, 'invalidConfiguration', error.message)
      assert.equal(error.details?.setting, setting)
      assert.match(error.message, /found .*wanted .*;/)
      assert.match(error.message, /cluster/)
      return true
    })
    assert.deepEqual(await readdir(directory.path), [])
  })
}

test('cluster: a topic is unknown when the cluster lacks it, not when this broker has not heard of it', async () => {
  const unknown = new PlayheadError('unknownTopic', 'topic carts: found no topic of that name', { topic: 'carts' })
  const answers = [() => Promise.resolve(false), () => Promise.reject(new PlayheadError('unavailable', 'nobody there'))]
  for (const lackTopic of answers) {
    const refusal = await asRefusal(unknown, { ...noBrokers, lackTopic })
    assert.deepEqual([refusal.code, refusal.details['outcome'], refusal.retriable], ['unavailable', 'notApplied', true])
  }
  assert.equal(await asRefusal(unknown, noBrokers), unknown)
})
