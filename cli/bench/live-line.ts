/**
 * LiveLine: one line on a terminal, drawn anew each second: what goes on now. Nothing at all where there is no terminal. It reads the
 * measurement, and costs nothing between two looks.
 */
import { grouped } from '../text-table.ts'
import type { BenchRun } from './bench-run.ts'
import type { Measurement } from './measurement.ts'

const drawMs = 1_000

export class LiveLine {
  readonly #run: BenchRun
  readonly #terminal: NodeJS.WriteStream | undefined
  readonly #timer: NodeJS.Timeout | undefined
  #measurement: Measurement | undefined
  #records = 0
  #bytes = 0
  #lookedMs = 0
  #isDrawn = false

  constructor(run: BenchRun, stream: NodeJS.WriteStream) {
    this.#run = run
    if (!stream.isTTY) return
    this.#terminal = stream
    this.#timer = setInterval(() => this.#look(), drawMs)
    this.#timer.unref()
  }

  /** Ends the line. */
  finish(): void {
    clearInterval(this.#timer)
    if (this.#isDrawn) this.#terminal?.write('\n')
    this.#isDrawn = false
  }

  #look(): void {
    const { current } = this.#run
    const nowMs = performance.now()
    if (current === this.#measurement) this.#draw(current, (nowMs - this.#lookedMs) / 1000)
    this.#measurement = current
    this.#records = current.records
    this.#bytes = current.bytes
    this.#lookedMs = nowMs
  }

  #draw(current: Measurement, seconds: number): void {
    const text = liveText(
      { records: current.records - this.#records, bytes: current.bytes - this.#bytes, seconds },
      current.latency.percentileMs(99),
    )
    this.#terminal?.write(`\r${text}\u001b[K`)
    this.#isDrawn = true
  }
}

/** `12,345 records/s  1.2 MB/s  p99 3.456 ms`. */
export function liveText(
  { records, bytes, seconds }: { readonly records: number; readonly bytes: number; readonly seconds: number },
  p99Ms: number,
): string {
  const recordsPerSecond = grouped(Math.round(records / seconds))
  return `${recordsPerSecond} records/s  ${(bytes / 1e6 / seconds).toFixed(1)} MB/s  p99 so far ${p99Ms.toFixed(3)} ms`
}
