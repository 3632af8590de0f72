import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { test } from 'node:test'
import { Comparison } from '../../../bench/rivals/comparison.ts'
import { throughput } from '../../../bench/rivals/figure.ts'
import type { Figure } from '../../../bench/rivals/figure.ts'
import type { Peer, Workload } from '../../../bench/rivals/peer.ts'
import { linesOf } from '../../../bench/rivals/result.ts'
import { fullScale } from '../../../bench/rivals/scale.ts'
import { TemporaryDirectory } from '../../temporary-directory.ts'

const figures = [throughput(100, 1), throughput(200, 1), throughput(300, 1)]

function workload(tool: string, measure: () => Promise<Figure>): Workload {
  const ours = { kind: 'produce', recordBytes: 100 } as const
  return { tool, ours, metrics: ['recordsPerSecond'], on: ['default'], measure }
}

interface FakePeer {
  readonly peer: Peer
  readonly directories: string[]
}

function fakePeer(workloads: readonly Workload[], check: () => Promise<void> = () => Promise.resolve()): FakePeer {
  const directories: string[] = []
  const peer: Peer = {
    name: 'fake',
    title: 'Fake',
    durability: { default: 'none' },
    settings: [],
    workloads,
    install: () => Promise.resolve('Fake 1'),
    start: (directory) => {
      assert.ok(existsSync(directory))
      directories.push(directory)
      return Promise.resolve({ port: 1, directory, [Symbol.asyncDispose]: () => Promise.resolve() })
    },
    check,
  }
  return { peer, directories }
}

async function compare({ peer }: FakePeer) {
  await using directory = await TemporaryDirectory.make()
  const progress: string[] = []
  const options = { scale: fullScale(2), kinds: ['default', 'durable'], sides: 'theirs' } as const
  const comparison = new Comparison(peer, {
    ...options,
    directory: directory.path,
    onProgress: (line) => progress.push(line),
  })
  return { ...(await comparison.run()), progress }
}

test('comparison: a tool that fails in one round is reported, the other tools are measured all the same', async () => {
  let calls = 0
  const flaky = workload('flaky', () =>
    ++calls === 2 ? Promise.reject(new Error('broke')) : Promise.resolve(figures[0]!),
  )
  const { failures, progress } = await compare(
    fakePeer([flaky, workload('steady', () => Promise.resolve(figures[1]!))]),
  )
  assert.equal(failures.length, 1)
  assert.match(failures[0]!, /fake: theirs: write 100 B, flaky, round 2: broke/)
  assert.equal(progress.filter((line) => line.includes('steady')).length, 2)
})

test('comparison: a peer without the durable setting is not started for it, and each start has a directory that goes', async () => {
  const fake = fakePeer([workload('steady', () => Promise.resolve(figures[0]!))])
  await compare(fake)
  assert.equal(fake.directories.length, 2)
  assert.deepEqual(
    fake.directories.filter((path) => existsSync(path)),
    [],
  )
})

test('comparison: a server that does not hold what was written is a failure of the round', async () => {
  const check = (): Promise<void> => Promise.reject(new Error('found 99 records, wanted 100'))
  const { failures } = await compare(fakePeer([workload('steady', () => Promise.resolve(figures[0]!))], check))
  assert.equal(failures.length, 2)
  assert.match(failures[0]!, /found 99 records, wanted 100/)
})

test('result: a line needs a figure of both sides in every round', () => {
  const steady = workload('steady', () => Promise.resolve(figures[0]!))
  const measured = { workload: steady, durability: 'default', ours: figures, theirs: figures.slice(0, 2) } as const
  assert.deepEqual(linesOf(measured, 3), [])
  const [line] = linesOf({ ...measured, theirs: figures.toReversed() }, 3)
  assert.equal(line?.ratio, 1)
  assert.deepEqual(line?.theirs.figures, [300, 200, 100])
})
