/**
 * LineWriter: lines to stdout, many at a time. Invariant: at most `bufferedCharsMax` wait here, and a line counts as written only when the
 * reader's side has taken it. Throws OutputClosed as soon as nobody reads any more.
 */
import type { Writable } from 'node:stream'
import { KiB } from '../protocol/limits.ts'
import { OutputClosed } from './failure-report.ts'

const bufferedCharsMax = 64 * KiB

export class LineWriter {
  readonly #stream: Writable
  #text = ''

  constructor(stream: Writable) {
    this.#stream = stream
    // Told by the callback of the write as well; without a listener Node would end the process.
    stream.on('error', () => {})
  }

  /** Adds a line. Answers a promise to await when it is time to. */
  write(line: string): Promise<void> | undefined {
    this.#text += `${line}\n`
    return this.#text.length < bufferedCharsMax ? undefined : this.flush()
  }

  /** Resolves when every line so far has been taken. */
  flush(): Promise<void> {
    const text = this.#text
    this.#text = ''
    if (text === '') return Promise.resolve()
    return new Promise((resolve, reject) => {
      this.#stream.write(text, (error) => {
        if (error === null || error === undefined) resolve()
        else if (isClosed(error)) reject(new OutputClosed())
        else reject(error)
      })
    })
  }
}

function isClosed(error: Error): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'EPIPE' || code === 'ERR_STREAM_DESTROYED' || code === 'ECONNRESET'
}
