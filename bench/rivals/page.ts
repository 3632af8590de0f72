/**
 * Page: docs/benchmarks.md and its chart, made of the results in bench/results/. Pure: the same results give the same bytes, and a test holds the
 * committed page against them. Invariant: every figure on it comes from a result; of each peer the newest full run is shown.
 */
import { chartOf } from './chart.ts'
import type { ChartLine } from './chart.ts'
import type { Line, PeerResult, RunResult } from './result.ts'
import { ratioText, sideText } from './wording.ts'

export interface Page {
  readonly markdown: string
  /** Nothing without figures. */
  readonly svg: string | undefined
}

interface Shown {
  readonly run: RunResult
  readonly peer: PeerResult
}

const metricNames = { recordsPerSecond: '', p50: ', p50', p99: ', p99' }

export function pageOf(results: readonly RunResult[]): Page {
  const shown = newestOfEachPeer(results)
  const charted: ChartLine[] = shown.flatMap(({ peer }) =>
    peer.lines.filter(({ metric }) => metric === 'recordsPerSecond').map((line) => ({ ...line, peer: peer.title })),
  )
  const svg = charted.length === 0 ? undefined : chartOf(charted)
  const parts = [
    introduction,
    svg === undefined
      ? 'No full run is recorded in `bench/results/` yet.'
      : '![Throughput, paired bars](benchmarks.svg)',
    ...(shown.length === 0 ? [] : [runsOf(shown)]),
    ...shown.map(sectionOf),
    method,
  ]
  return { markdown: `${parts.join('\n\n')}\n`, svg }
}

/** The same table for the terminal, of one run of any size. */
export function tableOf(peer: PeerResult): string {
  const rows = peer.lines.map(rowOf)
  const header = ['work', `${peer.title} with`, 'Playhead', peer.title, 'ratio']
  return [header, header.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

function newestOfEachPeer(results: readonly RunResult[]): Shown[] {
  const newest = new Map<string, Shown>()
  for (const run of results.toSorted((a, b) => a.startedAt.localeCompare(b.startedAt))) {
    if (run.isQuick) continue
    for (const peer of run.peers) if (peer.lines.length > 0) newest.set(peer.name, { run, peer })
  }
  return [...newest.values()].toSorted((a, b) => a.peer.title.localeCompare(b.peer.title))
}

function runsOf(shown: readonly Shown[]): string {
  const runs = [...new Set(shown.map(({ run }) => run))]
  const rows = runs.map((run) => {
    const { cpu, cores, memoryGb, kernel, fileSystem, node } = run.machine
    const peers = shown.filter((each) => each.run === run).map(({ peer }) => peer.title)
    const machine = `${cpu}, ${cores} cores, ${memoryGb} GB; ${kernel}, ${fileSystem}; Node ${node}`
    return `| ${run.startedAt.slice(0, 10)} | ${run.ours.version} | ${peers.join(', ')} | ${run.rounds} | ${machine} |`
  })
  return ['## Runs', '', '| date | version | beside | rounds | machine |', '|---|---|---|---|---|', ...rows].join('\n')
}

function sectionOf({ run, peer }: Shown): string {
  const durable = peer.durability.durable === undefined ? [] : [`durable: ${peer.durability.durable}`]
  return [
    `## Beside ${peer.title}`,
    '',
    `${peer.version}. Playhead: ${run.ours.durability}. ${peer.title}: ${[peer.durability.default, ...durable].join('; ')}.`,
    '',
    tableOf(peer),
    '',
    ...peer.settings.map((setting) => `- ${setting}`),
    ...run.ours.settings.map((setting) => `- Playhead, ${setting}`),
  ].join('\n')
}

function rowOf(line: Line): string[] {
  const { work, tool, durability, metric, ours, theirs, ratio } = line
  const title = `${work}${metricNames[metric]}`
  return [
    title,
    durability === 'durable' ? `${tool}, durable` : tool,
    sideText(line, ours),
    sideText(line, theirs),
    ratioText(ratio),
  ]
}

const introduction = `# Benchmarks

Playhead and its peers on one machine, in one run, taking turns. This page is generated from \`bench/results/\`: do not edit it. Repeat it with

\`\`\`
npm run bench:rivals -- kafka nats redis rabbitmq umadb --durable
\`\`\`

which fetches what is missing into \`~/.cache/playhead-bench\` (\`PLAYHEAD_CACHE\`), or names the command that does. A ratio above 1x means that Playhead did
better: more records a second, or fewer milliseconds. Quote the ratios, not the figures: those belong to the machine.`

const method = `## Method

- Rounds alternate: Playhead's broker starts on an empty directory, does its work and stops; then the peer the same. One server is alive at a time; its
  directory is removed and the page cache's dirty pages are written before the next starts. A line shows medians of the rounds and half of their range, and the ratio of the medians.
- Before the first round most of the free memory is touched once: a virtual machine gets its memory from its host page by page, which whoever comes first would pay for.
- One client process and one server share the machine, over loopback. Record sizes are the same on both sides; counts differ, so that each measurement takes seconds.
- Every record is accounted for, or the figure does not count: each side must hold as many records as its tool says it wrote and read back as many. Offsets or sequence numbers must
  follow one another where a program of ours reads (NATS, RabbitMQ, UmaDB, the latency of Kafka); Playhead's directory is then read byte by byte by \`playhead verify\`.
- Playhead always syncs before it acknowledges. A peer does only where its line says durable, and UmaDB.
- Times are those of the tools themselves, except kcat, which tells none. A Java tool's warming up is part of its figure for throughput, as is Node's.
- Latency end to end is taken from the moment a record was meant to be sent: a sender that falls behind shows. That of a conditional append is from its call to its answer,
  with as many others in flight as the line says.
- A line that failed in any round is left out; the run says so and exits with 1.`
