/** The cluster commands as users call them, against three real brokers in this process. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BrokerCluster, eventually } from '../client/broker-cluster.ts'
import { runPlayhead } from './run-playhead.ts'
import type { Ended } from './run-playhead.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { Broker } from '../../broker/broker.ts'

const timeoutMs = 30_000

/** Through any of the brokers given. */
function command(cluster: BrokerCluster, ids: readonly number[], line: string): Promise<Ended> {
  const servers = ids.map((id) => `127.0.0.1:${cluster.brokers.get(id)!.port}`).join(',')
  return runPlayhead([...line.split(' '), '--server', servers])
}

interface Status {
  readonly brokers: readonly { readonly broker: number; readonly isThere: boolean; readonly isReached: boolean }[]
  readonly partitions: readonly {
    readonly topic: string
    readonly partition: number
    readonly leader?: number
    readonly replicas: readonly number[]
    readonly inSync: readonly number[]
    readonly state: string
    readonly lags: readonly { readonly broker: number; readonly records: number }[]
  }[]
  readonly health: Readonly<Record<string, number>>
}

async function statusOf(cluster: BrokerCluster, ids: readonly number[], topic: string): Promise<Status> {
  const { stdout, stderr } = await command(cluster, ids, `cluster status --topic ${topic} --json`)
  assert.notEqual(stdout, '', stderr)
  return JSON.parse(stdout) as Status
}

test('cluster status: brokers, leaders, in-sync sets and lag, from any broker; exit code 1 once a replica is missing', async () => {
  await using cluster = await BrokerCluster.start([1, 2, 3])
  await using playhead = await cluster.connect([1, 2, 3], { timeoutMs })
  await playhead.admin.createTopic('carts', { partitions: 2, replicationFactor: 3 })
  await playhead.topic('carts').stream('one').append({ type: 'Happened', data: 1 })
  for (const id of [1, 2, 3]) {
    const { stdout, stderr, code } = await command(cluster, [id], 'cluster status --topic carts')
    assert.equal(code, 0, stderr)
    assert.match(stdout, /controller is broker \d/)
    assert.equal(stdout.match(/ there$/gm)?.length, 3, stdout)
    assert.equal(stdout.match(/^carts\/[01] .* ok$/gm)?.length, 2, stdout)
    assert.match(stdout, /2 partitions: 0 offline, 0 under-replicated, 0 moving/)
  }
  const { partitions, health } = await statusOf(cluster, [2], 'carts')
  assert.deepEqual(health, { partitions: 2, offline: 0, underReplicated: 0, moving: 0 })
  assert.deepEqual(
    partitions.map(({ lags }) => lags.map(({ records }) => records)),
    [
      [0, 0],
      [0, 0],
    ],
  )
  await cluster.stop(3)
  const ended = await command(cluster, [1], 'cluster status')
  assert.equal(ended.code, 1)
  assert.match(ended.stdout, /^ +3 .* away$/m)
  assert.match(ended.stdout, /^carts\/0 .* under-replicated$/m)
  const unknown = await command(cluster, [1], 'cluster status --topic nothing')
  assert.deepEqual([unknown.code, unknown.stdout], [1, ''])
  assert.match(unknown.stderr, /unknown-topic: topic nothing/)
})

test('cluster: of a broker by itself there is none, and the command says so', async () => {
  await using directory = await TemporaryDirectory.make()
  await using broker = await Broker.start({ data: directory.path, port: 0, httpPort: 0 })
  for (const line of ['cluster status', 'cluster drain 1', 'cluster reassign carts --replicas 1']) {
    const ended = await runPlayhead([...line.split(' '), '--server', `127.0.0.1:${broker.port}`])
    assert.equal(ended.code, 1)
    assert.match(ended.stderr, /error: not-clustered: broker 0: found it by itself, wanted one of a cluster/)
  }
})

test('cluster reassign: one replica becomes three and then another one, with all events; a cancelled move leaves it where it was', async () => {
  await using cluster = await BrokerCluster.start([1, 2, 3])
  await using playhead = await cluster.connect([1, 2, 3], { timeoutMs })
  await playhead.admin.createTopic('carts')
  const stream = playhead.topic('carts').stream('one')
  for (let count = 0; count < 50; count++) await stream.append({ type: 'Counted', data: count })
  const grown = await command(cluster, [2], 'cluster reassign carts --replicas 1,2,3')
  assert.equal(grown.code, 0, grown.stderr)
  assert.match(grown.stdout, /^carts\/0 +\d +1, 2, 3 +\d, \d, \d$/m)
  const [now] = (await statusOf(cluster, [1], 'carts')).partitions
  assert.deepEqual([now?.replicas, now?.inSync.length, now?.state], [[1, 2, 3], 3, 'ok'])
  const { stdout, stderr, code } = await command(
    cluster,
    [1],
    'cluster reassign carts --partition 0 --replicas 3 --json',
  )
  assert.equal(code, 0, stderr)
  assert.deepEqual((JSON.parse(stdout) as Status).partitions[0]?.replicas, [3])
  assert.equal((await stream.append({ type: 'Counted', data: 50 })).version, 50)

  await using others = await cluster.connect([1, 3], { timeoutMs })
  await others.cluster.status()
  cluster.cutOff(2) // nothing is copied to it
  const { adding } = await others.cluster.reassign('carts', 0, [3, 2])
  assert.deepEqual(adding, [2])
  const cancelled = await command(cluster, [1, 3], 'cluster reassign carts --cancel')
  assert.equal(cancelled.code, 0, cancelled.stderr)
  assert.deepEqual((await statusOf(cluster, [1, 3], 'carts')).partitions[0]?.replicas, [3])
  const nowhere = await command(cluster, [1, 3], 'cluster reassign carts --replicas 7')
  assert.equal(nowhere.code, 1)
  assert.match(nowhere.stderr, /invalid-argument: carts\/0: found new replicas on brokers 7 which are not there/)
  cluster.putBack(2)
})

test('cluster throttle: at a byte a second a new replica gets its first bytes and no more; once that is lifted the move ends', async () => {
  await using cluster = await BrokerCluster.start([1, 2])
  await using playhead = await cluster.connect([1, 2], { timeoutMs })
  await playhead.admin.createTopic('carts')
  const stream = playhead.topic('carts').stream('one')
  const data = 'x'.repeat(10_000)
  for (let count = 0; count < 40; count++) await stream.append({ type: 'Counted', data })
  const set = await command(cluster, [1], 'cluster throttle 1')
  assert.equal(set.code, 0, set.stderr)
  assert.match(set.stdout, /at most 1 bytes a second to new replicas/)
  await playhead.cluster.reassign('carts', 0, [1, 2])
  const copiedEnd = async () => {
    const { copies, leader } = (await playhead.cluster.status({ topic: 'carts' })).partitions[0]!
    return copies.find(({ broker, logEndOffset }) => broker !== leader && logEndOffset > 0)?.logEndOffset
  }
  await eventually(async () => (await copiedEnd()) !== undefined)
  const copied = (await copiedEnd())!
  assert.ok(copied < 40, 'most would still take days')
  const status = await command(cluster, [2], 'cluster status --topic carts')
  assert.match(status.stdout, /^carts\/0 .* moving, adding \d$/m)
  assert.match(status.stdout, /^each broker copies at most 1 bytes a second to new replicas/m)
  const lifted = await command(cluster, [2], 'cluster throttle --off')
  assert.equal(lifted.code, 0, lifted.stderr)
  const ended = await command(cluster, [1], 'cluster reassign carts --replicas 1,2')
  assert.equal(ended.code, 0, ended.stderr)
  assert.match(ended.stdout, /^carts\/0 +\d +1, 2 +\d, \d$/m)
})

test('cluster drain: a broker is emptied onto a fourth one; with three replicas on three brokers it says what cannot move and why', async () => {
  await using cluster = await BrokerCluster.start([1, 2, 3])
  await using playhead = await cluster.connect([1, 2, 3], { timeoutMs })
  await playhead.admin.createTopic('carts', { partitions: 2, replicationFactor: 3 })
  const leader = await cluster.leaderOf(playhead, 'carts')
  const stopsLeading = await command(cluster, [1], `cluster drain ${leader} --leaders-only`)
  assert.equal(stopsLeading.code, 0, stopsLeading.stderr)
  assert.match(stopsLeading.stdout, /leads nothing until it starts again/)
  const led = (await statusOf(cluster, [1], 'carts')).partitions.map((partition) => partition.leader)
  assert.ok(!led.includes(leader))

  const stuck = await command(cluster, [1], 'cluster drain 3')
  assert.equal(stuck.code, 1, stuck.stdout)
  assert.match(
    stuck.stdout,
    /carts\/0: it has 3 replicas and the brokers that stay are 1, 2: start another one, or give/,
  )
  await cluster.open(4)
  const emptied = await command(cluster, [1], 'cluster drain 3')
  assert.equal(emptied.code, 0, emptied.stdout + emptied.stderr)
  assert.match(emptied.stdout, /broker 3 has nothing any more/)
  const { partitions, brokers } = await statusOf(cluster, [1], 'carts')
  assert.deepEqual(
    partitions.map(({ replicas, inSync }) => [replicas.includes(3), replicas.length, inSync.length]),
    [
      [false, 3, 3],
      [false, 3, 3],
    ],
  )
  assert.deepEqual(
    brokers.map(({ broker }) => broker),
    [1, 2, 3, 4],
  )
  await cluster.stop(3)
  await eventually(async () => (await statusOf(cluster, [1], 'carts')).brokers.every(({ broker }) => broker !== 3))
  // One that is gone already, from partitions that are quiet.
  const [dead = 0, alive = 0] = [1, 2, 4].filter((id) => id !== leader)
  await cluster.open(5)
  cluster.cutOff(dead)
  const isAway = async () => (await statusOf(cluster, [alive], 'carts')).brokers.some((one) => !one.isThere)
  await eventually(isAway)
  const replaced = await command(cluster, [alive], `cluster drain ${dead}`)
  assert.equal(replaced.code, 0, replaced.stdout + replaced.stderr)
  const undone = await command(cluster, [alive], `cluster drain ${leader} --undo`)
  assert.match(undone.stdout, /is one like the others again/)
})

test('cluster recover: says what vanishes, wants --yes, and then a replica that was behind is the truth', async () => {
  await using cluster = await BrokerCluster.start([1, 2])
  await using playhead = await cluster.connect([1, 2], { timeoutMs })
  await playhead.admin.createTopic('carts', { replicationFactor: 2, settings: { 'min.insync.replicas': 1 } })
  const stream = playhead.topic('carts').stream('one')
  await stream.append({ type: 'Counted', data: 0 })
  const leader = await cluster.leaderOf(playhead, 'carts')
  const other = leader === 1 ? 2 : 1
  const early = await command(cluster, [other], `cluster recover carts --partition 0 --broker ${other} --yes`)
  assert.match(early.stderr, /wanted no leader; there is nothing to recover/)
  await cluster.stop(other)
  await stream.append({ type: 'Counted', data: 1 }) // only on the leader's disk
  await cluster.stop(leader)
  await cluster.open(other)
  const asked = await command(cluster, [other], `cluster recover carts --partition 0 --broker ${other}`)
  assert.equal(asked.code, 2)
  assert.match(asked.stderr, /eligible: it had everything/)
  assert.match(asked.stderr, new RegExp(`What only broker ${leader} had vanishes`))
  assert.match(asked.stderr, /found nobody to ask, wanted --yes/)
  assert.equal((await command(cluster, [other], 'cluster status --topic carts')).code, 1)
  const done = await command(cluster, [other], `cluster recover carts --partition 0 --broker ${other} --yes`)
  assert.equal(done.code, 0, done.stderr)
  await using after = await cluster.connect([other], { timeoutMs })
  const { version } = await after.topic('carts').stream('one').append({ type: 'Counted', data: 'anew' })
  assert.equal(version, 1)
})
