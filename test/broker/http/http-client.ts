/** Requests to the HTTP port of a running broker, and the server-sent events it answers with, as tests send and read them. */
import { connect } from 'node:net'
import type { RunningBroker } from '../running-broker.ts'

export interface HttpAnswer {
  readonly status: number
  readonly headers: Headers
  // oxlint-disable-next-line typescript/no-explicit-any -- a test says what it expects
  readonly body: any
}

export async function send(
  { broker }: Pick<RunningBroker, 'broker'>,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<HttpAnswer> {
  const init: RequestInit = { method, headers }
  if (body !== undefined) {
    init.headers = { 'content-type': 'application/json', ...headers }
    init.body = typeof body === 'string' ? body : JSON.stringify(body)
  }
  const response = await fetch(`http://127.0.0.1:${broker.httpPort}${path}`, init)
  const text = await response.text()
  return { status: response.status, headers: response.headers, body: text === '' ? undefined : JSON.parse(text) }
}

/** Sends the bytes as they are; answers all that comes until the broker ends the connection, or `untilText` has come. */
export function sendRaw(port: number, parts: readonly string[], untilText: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => {
      for (const [index, part] of parts.entries()) setTimeout(() => socket.write(part), index * 20)
    })
    socket.on('data', (bytes) => {
      text += bytes.toString()
      if (text.includes(untilText)) socket.destroy()
    })
    socket.on('close', () => resolve(text)).on('error', reject)
  })
}

export interface FollowedEvent {
  readonly id: string | undefined
  readonly event: string
  // oxlint-disable-next-line typescript/no-explicit-any -- a test says what it expects
  readonly data: any
}

/** One connection that follows; ends when it is disposed. */
export class FollowReader {
  readonly events: FollowedEvent[] = []
  readonly comments: string[] = []
  isOver = false
  readonly #abort = new AbortController()
  readonly #reading: Promise<void>

  constructor(port: number, path: string, headers: Record<string, string> = {}) {
    this.#reading = this.#read(`http://127.0.0.1:${port}${path}`, headers)
  }

  /** Resolves when so many events have come. */
  async until(count: number): Promise<FollowedEvent[]> {
    await this.when(() => this.events.length >= count, `${count} events`)
    return this.events
  }

  async when(condition: () => boolean, what: string): Promise<void> {
    for (let waitedMs = 0; !condition(); waitedMs += 5) {
      if (waitedMs > 20_000) throw new Error(`waited for ${what}; came: ${this.events.length}`)
      await new Promise((resolve) => {
        setTimeout(resolve, 5)
      })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort()
    await this.#reading
  }

  async #read(url: string, headers: Record<string, string>): Promise<void> {
    try {
      const response = await fetch(url, { headers, signal: this.#abort.signal })
      if (response.status !== 200 || response.body === null)
        throw new Error(`${response.status} ${await response.text()}`)
      let rest = ''
      for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
        const blocks = (rest + text).split('\n\n')
        rest = blocks.pop() ?? ''
        for (const block of blocks) this.#take(block)
      }
    } catch (error) {
      if (!this.#abort.signal.aborted && !(error instanceof TypeError)) throw error
    } finally {
      this.isOver = true
    }
  }

  #take(block: string): void {
    if (block.startsWith(':')) return void this.comments.push(block)
    const fields = new Map(
      block.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
    )
    this.events.push({
      id: fields.get('id'),
      event: fields.get('event') ?? 'message',
      data: JSON.parse(fields.get('data') ?? 'null'),
    })
  }
}
