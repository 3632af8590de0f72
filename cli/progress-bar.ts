/**
 * ProgressBar: one line on a terminal that shows how far a file has got; nothing at all where there is no terminal.
 * Invariant: draws at most every 100 ms, however often it is told, and leaves its line finished.
 */
import type { ImportProgress } from './import-file.ts'
import { grouped } from './text-table.ts'

const drawMs = 100
const barChars = 28
/** Some terminals say 0. */
const columnsUnknown = 80

export class ProgressBar {
  readonly #terminal: NodeJS.WriteStream | undefined
  #drawnMs = Number.NEGATIVE_INFINITY
  #last: ImportProgress | undefined

  constructor(stream: NodeJS.WriteStream) {
    this.#terminal = stream.isTTY ? stream : undefined
  }

  update(progress: ImportProgress): void {
    if (this.#terminal === undefined) return
    this.#last = progress
    const nowMs = performance.now()
    if (nowMs - this.#drawnMs < drawMs) return
    this.#drawnMs = nowMs
    this.#draw(this.#terminal, progress)
  }

  /** Draws the last state once more and ends the line. Nothing happens when there is none. */
  finish(): void {
    if (this.#terminal === undefined || this.#last === undefined) return
    this.#draw(this.#terminal, this.#last)
    this.#terminal.write('\n')
    this.#last = undefined
  }

  #draw(terminal: NodeJS.WriteStream, progress: ImportProgress): void {
    terminal.write(`\r${progressLine(progress, terminal.columns || columnsUnknown)}\u001b[K`)
  }
}

/** The line, not longer than the terminal is wide. */
export function progressLine(
  { phase, bytesRead, bytesTotal, records, elapsedMs }: ImportProgress,
  columns: number,
): string {
  const part = bytesTotal === 0 ? 1 : Math.min(1, bytesRead / bytesTotal)
  const filled = Math.round(part * barChars)
  const bar = `[${'#'.repeat(filled)}${'.'.repeat(barChars - filled)}] ${String(Math.floor(part * 100)).padStart(3)}%`
  if (phase === 'checking') return `${bar}  reading the file`.slice(0, columns - 1)
  const perSecond = elapsedMs > 0 ? Math.round((records / elapsedMs) * 1000) : 0
  const leftSeconds = part > 0.02 ? Math.ceil((elapsedMs / part - elapsedMs) / 1000) : undefined
  const left = leftSeconds === undefined || part === 1 ? '' : `  ${grouped(leftSeconds)} s left`
  return `${bar}  ${grouped(records)} rows  ${grouped(perSecond)}/s${left}`.slice(0, columns - 1)
}
