/**
 * playhead demo: the first minute: a real shop's history recorded, rewound, decided on, rederived, and this machine measured. Brings its
 * own broker on a temporary directory unless it is given one. Invariant: what it started and wrote of its own is gone when it ends, also
 * after Ctrl-C. Called by main.ts; the steps are demo/tour.ts.
 */
import type { ConnectionOptions } from './connection-options.ts'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from '../client/index.ts'
import type { ImportProgress } from './import-file.ts'
import { say, seconds, step } from './demo/narration.ts'
import { OwnBroker } from './demo/own-broker.ts'
import { decideTwice, measureDisk, recordHistory, rederiveRevenue, rewindCustomer } from './demo/tour.ts'
import type { Tour } from './demo/tour.ts'

export interface DemoOptions {
  /** `HOST:PORT[,…]` of a broker to use; without it the demo starts one of its own. */
  readonly server?: string | undefined
  /** Without progress for this long a call fails, ms. */
  readonly timeoutMs?: number | undefined
  /** Who the demo is on a broker of somebody else's. */
  readonly connection?: ConnectionOptions
  readonly signal: AbortSignal
  /** Takes a line of the demo's text. */
  readonly write: (line: string) => void
  readonly onImport: (progress: ImportProgress) => void
}

const ownTopics = { history: 'carts', baskets: 'baskets', measurement: 'measurement' }
/** On a broker of somebody else's, names that are nobody's by accident. */
const guestTopics = { history: 'demo-carts', baskets: 'demo-baskets', measurement: 'demo-measurement' }

/** Throws what fails, or the signal's reason. */
export async function demo(options: DemoOptions): Promise<void> {
  const startedMs = performance.now()
  const { server: given, timeoutMs, signal } = options
  await using cleanUp = new AsyncDisposableStack()
  const directory = await mkdtemp(join(tmpdir(), 'playhead-demo-'))
  cleanUp.defer(() => rm(directory, { recursive: true, force: true }))
  options.write("Playhead demo: record, rewind, replay, rederive, on a real shop's history.")
  const own = given === undefined ? cleanUp.use(await OwnBroker.start(join(directory, 'data'))) : undefined
  const server = given ?? `127.0.0.1:${own?.port}`
  options.write(
    own
      ? `A broker of its own serves ${server} from ${directory}; both are gone when the demo ends.`
      : `On the broker at ${server}.`,
  )
  const playhead = cleanUp.use(
    await connect(server, {
      clientName: 'demo',
      signal,
      ...options.connection,
      ...(timeoutMs !== undefined && { timeoutMs }),
    }),
  )
  const topics = own ? ownTopics : guestTopics
  const tour: Tour = { ...options, playhead, server, topics, viewDirectory: join(directory, 'views') }
  for (const take of [recordHistory, rewindCustomer, decideTwice, rederiveRevenue, measureDisk]) {
    signal.throwIfAborted()
    await take(tour)
  }
  step(tour, 6, `Your turn (this took ${seconds(performance.now() - startedMs)})`)
  sayWhatNext(tour, own === undefined ? ` --server ${server}` : '')
}

function sayWhatNext(tour: Tour, at: string): void {
  const { history, baskets } = guestTopics
  const rows: [command: string, what: string][] = [
    [`playhead read ${history} 14911 --as-of 2011-06-01T00:00:00Z${at}`, "one customer's events up to a moment"],
    [`playhead replay ${history} --limit 3${at}`, 'the whole history, from its start'],
    [`playhead append ${baskets} basket-1 --type Opened --data '{}' --expected-version none${at}`, 'twice: refused'],
    ['examples/customer-journey/README.md', 'the programs behind this tour, to read and to change'],
  ]
  if (at === '') {
    rows.unshift(
      ['playhead serve', 'a broker that stays; then, in another terminal:'],
      ['playhead demo --server localhost:7420', 'the same tour there: what it records stays'],
    )
  } else {
    rows.push([`playhead topic delete ${history}${at}`, 'removes the history that this recorded'])
  }
  const width = Math.max(...rows.map(([command]) => command.length))
  for (const [command, what] of rows) say(tour, `${command.padEnd(width)}   ${what}`)
}
