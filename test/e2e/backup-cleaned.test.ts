/**
 * Backups of logs from which retention and compaction take events away, also while they are copied: a stream whose events are gone goes on after its last
 * version. What a backup would have only half of is refused.
 */
import assert from 'node:assert/strict'
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { connect } from '../../client/index.ts'
import { runPlayhead } from '../cli/run-playhead.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { ServedBroker } from './served-broker.ts'

const filler = 'x'.repeat(20_000)

async function ok(args: readonly string[]): Promise<void> {
  const { stderr, code } = await runPlayhead(args)
  assert.equal(code, 0, `${args.join(' ')}: ${stderr}`)
}

test('backup: of logs that retention and compaction clean meanwhile (2 topics under load, 3 backups): sound, and versions go on', async () => {
  await using directory = await TemporaryDirectory.make()
  const at = (name: string): string => join(directory.path, name)
  await using broker = await ServedBroker.start(at('data'), ['--clean-interval-ms', '500'])
  await using playhead = await connect(broker.server)
  const small = { 'segment.bytes': 1_048_576 }
  const topics = { kept: { ...small, 'retention.bytes': 2_097_152 }, newest: { ...small, 'cleanup.policy': 'compact' } }
  for (const [topic, settings] of Object.entries(topics)) {
    await playhead.admin.createTopic(topic, { settings })
    for (let version = 0; version < 3; version++)
      await playhead.topic(topic).stream('once').append({ type: 'Happened', data: { version } })
  }
  const state = { isOver: false, rounds: 0 }
  const load = (async () => {
    for (; !state.isOver; state.rounds++) {
      for (const topic of Object.keys(topics))
        await Promise.all(
          Array.from({ length: 20 }, (_, stream) =>
            playhead.topic(topic).stream(`s-${stream}`).append({ type: 'Filled', data: { filler } }),
          ),
        )
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  })()
  load.catch(() => undefined) // awaited below, unless something else fails before
  const isGone = async () => (await playhead.topic('kept').stream('once').info()).firstVersion < 0
  while (state.rounds < 20 || !(await isGone())) await new Promise((resolve) => setTimeout(resolve, 50))
  for (let number = 0; number < 3; number++) await broker.ok('backup', '--data', at('data'), '--to', at(`b${number}`))
  state.isOver = true
  await load
  for (let number = 0; number < 3; number++) {
    const data = at(`restored${number}`)
    await ok(['restore', '--from', at(`b${number}`), '--data', data])
    await ok(['verify', '--data', data])
    await using restored = await ServedBroker.start(data)
    await using reader = await connect(restored.server)
    for (const topic of Object.keys(topics)) {
      const next = { type: 'Happened', data: { version: 3 } }
      const { version } = await reader.topic(topic).stream('once').append(next, { expectedVersion: 2 })
      assert.equal(version, 3, topic)
    }
  }
  const moment = ['restore', '--from', at('b0'), '--data', at('moment'), '--at', '2011-06-01T00:00:00Z']
  await ok(moment) // all topics are younger
  assert.deepEqual(await readdir(at('moment/topics')), [])
})

test('backup: as of a moment before what retention has removed there is nothing whole to bring back', async () => {
  await using directory = await TemporaryDirectory.make()
  const at = (name: string): string => join(directory.path, name)
  await using broker = await ServedBroker.start(at('data'), ['--clean-interval-ms', '100'])
  await using playhead = await connect(broker.server)
  await playhead.admin.createTopic('carts')
  const carts = playhead.topic('carts')
  await carts.stream('s').append({ type: 'Happened', data: {} })
  await new Promise((resolve) => setTimeout(resolve, 20))
  const moment = new Date().toISOString()
  await new Promise((resolve) => setTimeout(resolve, 20))
  await carts.stream('s').append({ type: 'Happened', data: {} })
  await carts.stream('s').append({ type: 'Happened', data: {} })
  await playhead.admin.deleteRecords('carts', [{ partition: 0, offset: 2 }])
  await broker.ok('backup', '--data', at('data'), '--to', at('backup'))
  const { code, stderr } = await runPlayhead(['restore', '--from', at('backup'), '--data', at('then'), '--at', moment])
  assert.equal(code, 1, stderr)
  assert.match(stderr, /invalidArgument|invalid-argument/)
  assert.match(stderr, /up to offset 2, wanted a moment at which it had got so far \(it stood at 1\)/)
  await assert.rejects(readdir(at('then')), { code: 'ENOENT' })
  await ok(['restore', '--from', at('backup'), '--data', at('all')])
})

test('backup: of a compacted log, as of a moment behind what was compacted: what stays is there, and versions go on', async () => {
  await using directory = await TemporaryDirectory.make()
  const at = (name: string): string => join(directory.path, name)
  await using broker = await ServedBroker.start(at('data'), ['--clean-interval-ms', '100'])
  await using playhead = await connect(broker.server)
  await playhead.admin.createTopic('carts', { settings: { 'segment.bytes': 1_048_576, 'cleanup.policy': 'compact' } })
  const carts = playhead.topic('carts')
  let version = 0
  const isCompacted = async () => (await carts.stream('s').info()).firstVersion > 0
  for (; version < 60 || !(await isCompacted()); version++)
    await carts.stream('s').append({ type: 'Filled', data: { filler } })
  await carts.stream('t').append({ type: 'Happened', data: {} })
  await new Promise((resolve) => setTimeout(resolve, 20))
  const moment = new Date().toISOString()
  await new Promise((resolve) => setTimeout(resolve, 20))
  await carts.stream('t').append({ type: 'Happened', data: {} })
  await broker.ok('backup', '--data', at('data'), '--to', at('backup'))
  await ok(['restore', '--from', at('backup'), '--data', at('then'), '--at', moment])
  await ok(['verify', '--data', at('then')])
  await using restored = await ServedBroker.start(at('then'))
  await using reader = await connect(restored.server)
  for (const [stream, last] of [
    ['s', version - 1],
    ['t', 0],
  ] as const) {
    assert.equal((await reader.topic('carts').stream(stream).info()).lastVersion, last, stream)
    const next = { type: 'Happened', data: {} }
    const appended = await reader.topic('carts').stream(stream).append(next, { expectedVersion: last })
    assert.equal(appended.version, last + 1)
  }
})

test('backup: of a data directory whose data is elsewhere too is refused by name', async () => {
  await using directory = await TemporaryDirectory.make()
  const data = join(directory.path, 'data')
  {
    await using broker = await ServedBroker.start(data)
    await (await connect(broker.server)).close()
  }
  await mkdir(join(data, 'tier'))
  const to = join(directory.path, 'backup')
  const { code, stderr } = await runPlayhead(['backup', '--data', data, '--to', to])
  assert.equal(code, 1, stderr)
  assert.match(stderr, /found a tier, wanted a broker by itself.*playhead tier restore/)
  await assert.rejects(readdir(to), { code: 'ENOENT' })
})
