/**
 * Our side: a broker by `bin/playhead serve` on a fresh directory, and each piece of work by `bin/playhead bench`, as a user would. Invariant:
 * a figure counts only when the broker then holds every record, and `playhead verify` reads each byte of them without finding damage.
 * Called by comparison.ts.
 */
import { join } from 'node:path'
import { PlayheadError } from '../../protocol/errors.ts'
import { throughput } from './figure.ts'
import type { Figure, Latency } from './figure.ts'
import { titleOf } from './our-work.ts'
import type { ConditionalAppendWork, ConsumeWork, EndToEndWork, OurWork, ProduceWork } from './our-work.ts'
import { RunningServer, freePort } from './running-server.ts'
import { endToEndSeconds, recordsPerSecondEndToEnd, scaled, warmUpSeconds } from './scale.ts'
import type { Scale } from './scale.ts'
import { runTool } from './tool.ts'

const command = join(import.meta.dirname, '..', '..', 'bin', 'playhead')
const batchBytes = 262_144
const lingerMs = 5

/** The JSON of `playhead bench`, as far as it is used here. */
interface BenchReport {
  readonly records: number
  readonly seconds: number
  readonly latencyMs: Latency
}

export const ourSettings: readonly string[] = [
  'server: `playhead serve`, defaults (acks=all: durable on the disk before every acknowledgement; stream index on)',
  `write: \`playhead bench produce\`, one process, one partition, batches of ${batchBytes} bytes, linger ${lingerMs} ms, no keys`,
  'read: `playhead bench consume`; latency: `playhead bench end-to-end`, no linger; conditional append: `playhead bench stream`',
]

export const ourDurability = 'durable on the disk before every acknowledgement (O_DIRECT and O_DSYNC)'

export class OurServer implements AsyncDisposable {
  readonly #port: number
  readonly #directory: string
  readonly #server: RunningServer
  /** What was produced, by topic. */
  readonly #written = new Map<string, number>()

  private constructor(port: number, directory: string, server: RunningServer) {
    this.#port = port
    this.#directory = directory
    this.#server = server
  }

  static async start(directory: string): Promise<OurServer> {
    const port = await freePort()
    const ports = ['--port', String(port), '--http-port', String(await freePort())]
    const server = await RunningServer.start({
      name: 'playhead',
      command: [command, 'serve', '--json', '--data', join(directory, 'data'), ...ports],
      logFile: join(directory, 'server.log'),
      port,
    })
    return new OurServer(port, directory, server)
  }

  /** Throws when the bench fails, or reports other than what was asked for. */
  measure(work: OurWork, scale: Scale): Promise<Figure> {
    switch (work.kind) {
      case 'produce':
        return this.#produce(work, scale)
      case 'consume':
        return this.#consume(work, scale)
      case 'endToEnd':
        return this.#endToEnd(work, scale)
      case 'conditionalAppend':
        break
    }
    return this.#appendConditionally(work, scale)
  }

  /** Every topic holds what was written to it; then the broker stops, and its directory is read byte by byte. */
  async check(): Promise<void> {
    for (const [topic, records] of this.#written) {
      const { partitions } = JSON.parse(await this.#playhead('topic', 'describe', topic)) as {
        partitions: { logStartOffset: number; highWatermark: number }[]
      }
      const found = partitions.reduce((sum, each) => sum + each.highWatermark - each.logStartOffset, 0)
      account(`topic ${topic}`, found, records)
    }
    await this.#server.stop()
    await runTool([command, '--json', 'verify', '--data', join(this.#directory, 'data')])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop()
  }

  #produce(work: ProduceWork, scale: Scale): Promise<Figure> {
    const flags = ['--partitions', '1', '--streams', '0', '--acks', 'all']
    const batching = ['--linger', String(lingerMs), '--batch-bytes', String(batchBytes)]
    return this.#write('produce', work, recordsFor(work.recordBytes, scale), [...flags, ...batching])
  }

  /** Reads what was produced with records of the same size. */
  async #consume(work: ConsumeWork, scale: Scale): Promise<Figure> {
    const records = recordsFor(work.recordBytes, scale)
    const flags = ['--records', String(records), '--record-bytes', String(work.recordBytes)]
    const report = await this.#bench('consume', topicOf('produce', work), flags)
    account(titleOf(work), report.records, records)
    return throughput(records, report.seconds)
  }

  async #endToEnd(work: EndToEndWork, scale: Scale): Promise<Figure> {
    const warmUp = warmUpSeconds / scale.divisor
    const records = Math.round(recordsPerSecondEndToEnd * (endToEndSeconds / scale.divisor + warmUp))
    const pace = ['--rate', String(recordsPerSecondEndToEnd), '--warm-up', String(warmUp)]
    const flags = [...pace, '--acks', 'all', '--linger', '0']
    const { latencyMs } = await this.#write('end-to-end', work, records, flags)
    return { records, latencyMs }
  }

  #appendConditionally(work: ConditionalAppendWork, scale: Scale): Promise<Figure> {
    const records = scaled(work.inFlight > 100 ? 1_000_000 : 400_000, scale)
    const flags = ['--streams', String(work.streams), '--in-flight', String(work.inFlight), '--reads', '0']
    return this.#write('stream', work, records, flags)
  }

  async #write(bench: string, work: OurWork, records: number, flags: readonly string[]): Promise<Figure> {
    const topic = topicOf(bench, work)
    const amount = ['--records', String(records), '--record-bytes', String(work.recordBytes)]
    const report = await this.#bench(bench, topic, [...amount, ...flags])
    account(titleOf(work), report.records, records)
    this.#written.set(topic, records)
    return { ...throughput(records, report.seconds), latencyMs: report.latencyMs }
  }

  async #bench(bench: string, topic: string, flags: readonly string[]): Promise<BenchReport> {
    return JSON.parse(await this.#playhead('bench', bench, '--topic', topic, ...flags)) as BenchReport
  }

  #playhead(...args: readonly string[]): Promise<string> {
    return runTool([command, '--json', '--server', `127.0.0.1:${this.#port}`, ...args])
  }
}

/** One for each piece of work that writes. */
function topicOf(bench: string, work: OurWork): string {
  return `bench-${bench}-${work.recordBytes}${work.kind === 'conditionalAppend' ? `-${work.inFlight}` : ''}`
}

function recordsFor(recordBytes: number, scale: Scale): number {
  return scaled(recordBytes === 100 ? 12_000_000 : 2_000_000, scale)
}

function account(what: string, found: number, wanted: number): void {
  if (found !== wanted)
    throw new PlayheadError('unavailable', `playhead ${what}: found ${found} records, wanted ${wanted}; run it again`)
}
