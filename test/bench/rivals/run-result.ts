/** A result as a run would leave it, for tests of the page: one peer, two lines of throughput (one durable) and one of latency. */
import { linesOf } from '../../../bench/rivals/result.ts'
import type { RunResult } from '../../../bench/rivals/result.ts'
import type { Workload } from '../../../bench/rivals/peer.ts'

const write: Workload = {
  tool: 'tool <a> & "b"',
  ours: { kind: 'produce', recordBytes: 100 },
  metrics: ['recordsPerSecond'],
  on: ['default', 'durable'],
  measure: () => Promise.reject(new Error('not to be measured')),
}
const follow: Workload = { ...write, tool: 'follower', ours: { kind: 'endToEnd', recordBytes: 100 }, metrics: ['p99'] }

function rates(...perSecond: readonly number[]) {
  return perSecond.map((recordsPerSecond) => ({ records: 1000, seconds: 1, recordsPerSecond }))
}

function latencies(...p99: readonly number[]) {
  return p99.map((value) => ({ records: 1000, latencyMs: { p50: 1, p95: 1, p99: value, max: 9 } }))
}

/** `seconds`: how far into the first of the month it began; later ones are newer. */
export function runResult(seconds = 0, changes: Partial<RunResult> = {}): RunResult {
  const lines = [
    ...linesOf(
      {
        workload: write,
        durability: 'default',
        ours: rates(3_000_000, 2_000_000, 2_500_000),
        theirs: rates(500_000, 490_000, 510_000),
      },
      3,
    ),
    ...linesOf(
      { workload: write, durability: 'durable', ours: rates(2e6, 2e6, 2e6), theirs: rates(1000, 1000, 1000) },
      3,
    ),
    ...linesOf({ workload: follow, durability: 'default', ours: latencies(2, 2, 2), theirs: latencies(5, 7, 6) }, 3),
  ]
  return {
    startedAt: new Date(Date.UTC(2026, 0, 1) + seconds * 1000).toISOString(),
    seconds: 60,
    rounds: 3,
    isQuick: false,
    ours: { version: 'Playhead 1.2.3', durability: 'synced', settings: ['ours as it is'] },
    machine: { cpu: 'a processor', cores: 2, memoryGb: 8, kernel: 'Linux 6', fileSystem: 'ext4', node: 'v26' },
    peers: [
      {
        name: 'peer',
        title: 'Peer',
        version: 'Peer 9',
        durability: { default: 'from memory', durable: 'sync=1' },
        settings: ['theirs as it is'],
        lines,
      },
    ],
    failures: [],
    ...changes,
  }
}
