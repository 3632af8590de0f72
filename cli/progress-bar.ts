/**
 * ProgressBar: one line on a terminal that shows how far something has got; nothing at all where there is no terminal.
 * Invariant: draws at most every 100 ms, however often it is told, and leaves its line finished.
 */
import type { ImportProgress } from './import-file.ts'
import { bytesText, grouped } from './text-table.ts'

const drawMs = 100
const barChars = 28
/** Some terminals say 0. */
const columnsUnknown = 80

export class ProgressBar<State> {
  readonly #terminal: NodeJS.WriteStream | undefined
  #drawnMs = Number.NEGATIVE_INFINITY
  #last: State | undefined
  readonly #line: (state: State, columns: number) => string

  /** `line`: the text for a state, shorter than the columns of the terminal. */
  constructor(stream: NodeJS.WriteStream, line: (state: State, columns: number) => string) {
    this.#terminal = stream.isTTY ? stream : undefined
    this.#line = line
  }

  update(progress: State): void {
    if (this.#terminal === undefined) return
    this.#last = progress
    const nowMs = performance.now()
    if (nowMs - this.#drawnMs < drawMs) return
    this.#drawnMs = nowMs
    this.#draw(this.#terminal, progress)
  }

  /** Takes the line away. */
  clear(): void {
    if (this.#last !== undefined) this.#terminal?.write('\r\u001b[K')
    this.#last = undefined
  }

  /** Draws the last state once more and ends the line. Nothing happens when there is none. */
  finish(): void {
    if (this.#terminal === undefined || this.#last === undefined) return
    this.#draw(this.#terminal, this.#last)
    this.#terminal.write('\n')
    this.#last = undefined
  }

  #draw(terminal: NodeJS.WriteStream, progress: State): void {
    terminal.write(`\r${this.#line(progress, terminal.columns || columnsUnknown)}\u001b[K`)
  }
}

/** The line of an import, not longer than the terminal is wide. */
export function progressLine(
  { phase, bytesRead, bytesTotal, records, elapsedMs }: ImportProgress,
  columns: number,
): string {
  const part = partOf(bytesRead, bytesTotal)
  if (phase === 'checking') return `${barOf(part)}  reading the file`.slice(0, columns - 1)
  const perSecond = elapsedMs > 0 ? Math.round((records / elapsedMs) * 1000) : 0
  return `${barOf(part)}  ${grouped(records)} rows  ${grouped(perSecond)}/s${timeLeft(part, elapsedMs)}`.slice(
    0,
    columns - 1,
  )
}

/** Bytes of so many that were read in so long. */
export interface ReadingProgress {
  readonly bytesRead: number
  readonly bytesTotal: number
  readonly elapsedMs: number
}

/** The line of a verification. */
export function readingLine({ bytesRead, bytesTotal, elapsedMs }: ReadingProgress, columns: number): string {
  const part = partOf(bytesRead, bytesTotal)
  const perSecond = elapsedMs > 0 ? (bytesRead / elapsedMs) * 1000 : 0
  const texts = [barOf(part), `${bytesText(bytesRead)} of ${bytesText(bytesTotal)}`, `${bytesText(perSecond)}/s`]
  const last = part === 1 ? '  comparing streams' : timeLeft(part, elapsedMs)
  return `${texts.join('  ')}${last}`.slice(0, columns - 1)
}

function partOf(done: number, total: number): number {
  return total === 0 ? 1 : Math.min(1, done / total)
}

function barOf(part: number): string {
  const filled = Math.round(part * barChars)
  return `[${'#'.repeat(filled)}${'.'.repeat(barChars - filled)}] ${String(Math.floor(part * 100)).padStart(3)}%`
}

function timeLeft(part: number, elapsedMs: number): string {
  if (part <= 0.02 || part === 1) return ''
  return `  ${grouped(Math.ceil((elapsedMs / part - elapsedMs) / 1000))} s left`
}
