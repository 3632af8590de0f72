/**
 * bench stream: single events appended with the version that the bench knows their stream to have, many under way at once, one for each
 * stream; then streams read, ten events each, one read after the other on each connection.
 */
import type { EventStream } from '../../client/index.ts'
import type { BenchRun } from './bench-run.ts'
import { Pace } from './pace.ts'
import { streamName } from './record-load.ts'

const eventsPerRead = 10
const noVersion = -1

export async function streamBench(run: BenchRun): Promise<void> {
  const versions = await knownVersions(run)
  await new ConditionalAppends(run, versions).run()
  await readStreams(run, versions)
}

/** The last version of each stream, as it is before the clock starts. */
async function knownVersions({ isTopicOld, clients, settings, signal }: BenchRun): Promise<Float64Array> {
  const versions = new Float64Array(settings.streams).fill(noVersion)
  if (!isTopicOld) return versions
  for await (const { stream, lastVersion } of clients[0]!.topic(settings.topic).streams({ prefix: 's-', signal })) {
    const number = Number(stream.slice(2))
    if (number < versions.length && streamName(number) === stream) versions[number] = lastVersion
  }
  return versions
}

class ConditionalAppends {
  readonly #run: BenchRun
  readonly #versions: Float64Array
  readonly #isBusy: Uint8Array
  readonly #data: Buffer
  #next = 0

  constructor(run: BenchRun, versions: Float64Array) {
    this.#run = run
    this.#versions = versions
    this.#isBusy = new Uint8Array(versions.length)
    this.#data = Buffer.alloc(run.settings.recordBytes, 'playhead ')
  }

  async run(): Promise<void> {
    const { settings, measurement, signal } = this.#run
    const pace = settings.rate === undefined ? undefined : await Pace.open(settings.rate, signal)
    const startedMs = measurement.begin()
    pace?.begin(startedMs)
    const appenders = Array.from({ length: settings.inFlight }, () =>
      this.#append(pace, startedMs + settings.durationMs).catch((error: unknown) => this.#run.fail(error)),
    )
    await Promise.all(appenders).finally(() => pace?.stop())
    signal.throwIfAborted()
  }

  /** One append after the other; as many of these run as appends are to be under way. */
  async #append(pace: Pace | undefined, untilMs: number): Promise<void> {
    const { settings, measurement, signal } = this.#run
    while (this.#next < settings.records) {
      const sequence = this.#next++
      let sentMs = performance.now()
      if (pace !== undefined) {
        const dueMs = pace.dueMs(sequence)
        if (dueMs >= untilMs) return
        if (dueMs > sentMs) await pace.wait(dueMs)
        sentMs = dueMs
      }
      if (performance.now() >= untilMs) return
      const number = this.#takeFree()
      const version = this.#versions[number]!
      const expectedVersion = version === noVersion ? 'none' : version
      const appended = await streamOf(this.#run, number).append(
        { type: 'Benched', data: this.#data },
        { expectedVersion, signal },
      )
      const nowMs = performance.now()
      measurement.add(1, settings.recordBytes, nowMs, nowMs - sentMs)
      this.#versions[number] = appended.version
      this.#isBusy[number] = 0
    }
  }

  /** A random stream, or the next one of which no append is under way: there is one, as --in-flight is at most --streams. */
  #takeFree(): number {
    const count = this.#isBusy.length
    let number = this.#run.load.below(count)
    while (this.#isBusy[number] === 1) number = (number + 1) % count
    this.#isBusy[number] = 1
    return number
  }
}

async function readStreams(run: BenchRun, versions: Float64Array): Promise<void> {
  const { settings, clients, reads, load } = run
  if (settings.reads === 0) return
  const written = Array.from(versions.keys()).filter((number) => versions[number]! !== noVersion)
  if (written.length === 0) return
  reads.begin()
  let left = settings.reads
  const readers = clients.map(async () => {
    while (left-- > 0) await readOne(run, written[load.below(written.length)]!)
  })
  await Promise.all(readers)
}

async function readOne(run: BenchRun, number: number): Promise<void> {
  const askedMs = performance.now()
  let events = 0
  for await (const event of streamOf(run, number).read({ limit: eventsPerRead, signal: run.signal })) {
    if (event.version !== null) events++
  }
  const nowMs = performance.now()
  run.reads.addUntimed(events, events * run.settings.recordBytes, nowMs)
  run.reads.latency.add(nowMs - askedMs)
}

/** Streams are shared out among the connections. */
function streamOf({ clients, settings }: BenchRun, number: number): EventStream {
  return clients[number % clients.length]!.topic(settings.topic).stream(streamName(number))
}
