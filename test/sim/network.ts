/**
 * Network: TCP between simulated processes. Bytes of one direction keep their order and arrive late, cut into pieces anywhere;
 * connections overtake each other, are reset with bytes on their way, and hang while the network is cut, in both directions or in one. Nothing is duplicated: TCP does not.
 * The bytes are taken when "the kernel" takes them, so that whoever changes a buffer before that is found out.
 */
import type { Connection, Listener, Transport } from '../../platform/transport.ts'
import { coded } from './disk.ts'
import type { Scheduler } from './scheduler.ts'
import type { SimulatedProcess } from './simulated-process.ts'

/** Bytes on their way in one direction: beyond, the kernel takes no more. */
const windowBytes = 256 * 1024
/** While the network is cut, everything looks again after this long. */
const cutPollMs = 20

interface Listening {
  readonly process: SimulatedProcess
  readonly accept: (connection: Connection) => void
}

export class Network {
  readonly scheduler: Scheduler
  /** Nothing passes, or nothing in one direction; what is sent there waits. */
  cut: 'none' | 'all' | 'requests' | 'replies' = 'none'
  /** Beside that: whether what one process sends does not get to another one. By their names. */
  blocks: (from: string, to: string) => boolean = () => false
  /** How many times as long as usual it takes from one to the other. */
  slowness: (from: string, to: string) => number = () => 1
  resets = 0
  readonly #listening = new Map<number, Listening>()
  /** By port: who listens, or did last. */
  readonly #owners = new Map<number, string>()
  readonly #open = new Set<Socket>()

  constructor(scheduler: Scheduler) {
    this.scheduler = scheduler
  }

  transport(process: SimulatedProcess): Transport {
    return {
      listen: (_host, port, accept) => Promise.resolve(this.#listen(process, port, accept)),
      connect: (host, port, signal) => this.#connect(process, `${host}:${port}`, port, signal),
    }
  }

  /** Breaks about one connection in `oneIn`. */
  reset(oneIn: number): void {
    for (const socket of this.#open) {
      if (!this.scheduler.oneIn(oneIn)) continue
      this.resets++
      socket.broken('ECONNRESET')
      socket.peer.broken('ECONNRESET')
    }
  }

  /** A killed process's sockets are closed by its kernel; those of a machine without power tell nobody for a while. */
  ended(process: SimulatedProcess, how: 'kill' | 'power'): void {
    for (const [port, listening] of this.#listening) if (listening.process === process) this.#listening.delete(port)
    for (const socket of this.#open) {
      if (socket.process !== process) continue
      const delayMs = how === 'kill' ? this.scheduler.between(0, 1) : this.scheduler.between(0, 3000)
      const { peer } = socket
      socket.forget()
      this.scheduler.after(delayMs, 'peer gone', () => peer.broken('ECONNRESET'))
    }
  }

  /** Whether what this process sends to that one is held up. */
  holds({ name }: SimulatedProcess, to: SimulatedProcess): boolean {
    if (this.blocks(name, to.name)) return true
    if (this.cut === 'none' || this.cut === 'all') return this.cut === 'all'
    return name.startsWith('broker') === (this.cut === 'replies')
  }

  /** A connection takes messages in both directions. */
  #isUnreachable({ name }: SimulatedProcess, port: number): boolean {
    const owner = this.#owners.get(port)
    if (this.cut !== 'none') return true
    return owner !== undefined && (this.blocks(name, owner) || this.blocks(owner, name))
  }

  opened(socket: Socket): void {
    this.#open.add(socket)
  }

  closed(socket: Socket): void {
    this.#open.delete(socket)
  }

  #listen(process: SimulatedProcess, port: number, accept: (connection: Connection) => void): Listener {
    if (this.#listening.has(port)) throw coded('EADDRINUSE', String(port))
    const listening = { process, accept }
    this.#listening.set(port, listening)
    this.#owners.set(port, process.name)
    const close = () => {
      if (this.#listening.get(port) === listening) this.#listening.delete(port)
      return Promise.resolve()
    }
    return { port, close }
  }

  #connect(process: SimulatedProcess, to: string, port: number, signal: AbortSignal | undefined): Promise<Connection> {
    return new Promise((resolve, reject) => {
      let settled = false
      const onAbort = () => {
        settled = true
        reject(signal?.reason as Error)
      }
      if (signal?.aborted) return onAbort()
      signal?.addEventListener('abort', onAbort, { once: true })
      const arrive = () => {
        if (settled) return
        if (this.#isUnreachable(process, port)) return void process.after(cutPollMs, 'connect', arrive)
        signal?.removeEventListener('abort', onAbort)
        const listening = this.#listening.get(port)
        if (listening === undefined) return reject(new Error(`connect ECONNREFUSED ${to}`))
        const near = new Socket(this, process)
        const far = new Socket(this, listening.process)
        near.peer = far
        far.peer = near
        // The kernel accepts for who stands still.
        if (listening.process.isPaused) listening.process.after(0, 'accept', () => listening.accept(far))
        else listening.accept(far)
        resolve(near)
      }
      process.after(this.scheduler.between(0.05, 1), 'connect', arrive)
    })
  }
}

class Socket implements Connection {
  readonly remoteAddress = 'simulated'
  room?: () => Buffer
  onData: (bytes: Buffer) => void = () => {}
  onClose: (error?: Error) => void = () => {}
  onDrain: () => void = () => {}
  pendingBytes = 0
  peer!: Socket
  readonly process: SimulatedProcess
  readonly #network: Network
  readonly #scheduler: Scheduler
  /** Written here, not taken by the kernel yet. */
  #unsent: { parts: readonly Buffer[]; onSent: (() => void) | undefined }[] = []
  #takes = false
  /** On the way to the peer; null = the end. */
  readonly #flying: (Buffer | null)[] = []
  #flyingBytes = 0
  #lastArrivalMs = 0
  #ends = false
  #isOpen = true
  #isPaused = false
  #arrived: (Buffer | null)[] = []

  constructor(network: Network, process: SimulatedProcess) {
    this.#network = network
    this.#scheduler = network.scheduler
    this.process = process
    network.opened(this)
  }

  write(parts: readonly Buffer[], onSent?: () => void): void {
    if (!this.#isOpen || this.#ends) return
    for (const part of parts) this.pendingBytes += part.length
    this.#unsent.push({ parts, onSent })
    this.#take()
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.process.after(0, 'resumed', () => this.#deliver())
  }

  end(): void {
    if (this.#ends) return
    this.#ends = true
    this.#take()
  }

  destroy(): void {
    if (!this.#isOpen) return
    const { peer } = this
    this.#close(undefined)
    this.#scheduler.after(this.#scheduler.between(0.05, 1), 'reset', () => peer.broken('ECONNRESET'))
  }

  /** The connection is gone as far as this side can tell. */
  broken(code: string): void {
    if (this.#isOpen) this.#close(coded(code, 'connection'))
  }

  /** Its process is gone: nobody is told. */
  forget(): void {
    this.#isOpen = false
    this.#network.closed(this)
  }

  #close(error: Error | undefined): void {
    this.forget()
    this.#unsent = []
    this.#arrived = []
    this.pendingBytes = 0
    this.process.after(this.#scheduler.between(0, 0.1), 'closed', () => this.onClose(error))
  }

  /** The kernel takes what is unsent, a little later. */
  #take(): void {
    if (this.#takes || !this.#isOpen) return
    this.#takes = true
    this.process.after(this.#scheduler.between(0.001, 0.05), 'send', () => {
      this.#takes = false
      if (!this.#isOpen) return
      while (this.#unsent.length > 0 && this.#flyingBytes < windowBytes) {
        const { parts, onSent } = this.#unsent.shift()!
        const bytes = Buffer.concat(parts)
        this.pendingBytes -= bytes.length
        this.#fly(bytes)
        onSent?.()
      }
      if (this.#unsent.length > 0) return
      if (this.#ends) this.#depart(null)
      else if (this.pendingBytes === 0) this.onDrain()
    })
  }

  /** In one to three pieces. */
  #fly(bytes: Buffer): void {
    const cuts = Array.from({ length: this.#scheduler.random.below(3) }, () =>
      this.#scheduler.random.below(bytes.length),
    )
    let from = 0
    for (const to of [...cuts.toSorted((a, b) => a - b), bytes.length]) {
      if (to > from) this.#depart(bytes.subarray(from, to))
      from = Math.max(from, to)
    }
  }

  #depart(piece: Buffer | null): void {
    this.#flying.push(piece)
    this.#flyingBytes += piece?.length ?? 0
    const slow =
      (this.#scheduler.oneIn(100) ? 50 : 1) * this.#network.slowness(this.process.name, this.peer.process.name)
    const atMs = Math.max(this.#lastArrivalMs, this.#scheduler.nowMs + this.#scheduler.between(0.02, 0.3) * slow)
    this.#lastArrivalMs = atMs
    this.#scheduler.after(atMs - this.#scheduler.nowMs, `${this.process.name} sent`, () => this.#arrive())
  }

  /** Also after this side is gone: what was on the wire arrives. */
  #arrive(): void {
    if (this.#network.holds(this.process, this.peer.process))
      return void this.#scheduler.after(cutPollMs, 'held', () => this.#arrive())
    const piece = this.#flying.shift()
    if (piece === undefined) return
    this.#flyingBytes -= piece?.length ?? 0
    this.peer.#receive(piece)
    if (this.#unsent.length > 0) this.#take()
  }

  #receive(piece: Buffer | null): void {
    if (!this.#isOpen || !this.process.isAlive) return
    this.#arrived.push(piece)
    if (this.process.isPaused) this.process.after(0, 'arrived', () => this.#deliver())
    else this.#deliver()
  }

  #deliver(): void {
    while (this.#isOpen && !this.#isPaused && this.#arrived.length > 0) {
      const piece = this.#arrived.shift()!
      if (piece === null) this.#peerEnded()
      else this.#read(piece)
    }
  }

  /** As much as fits where the owner wants it; the rest comes next. */
  #read(piece: Buffer): void {
    const room = this.room?.() ?? Buffer.alloc(piece.length)
    const count = piece.copy(room)
    if (count < piece.length) this.#arrived.unshift(piece.subarray(count))
    this.onData(room.subarray(0, count))
  }

  /** It has closed its side: ours follows, and both are gone. */
  #peerEnded(): void {
    const { peer } = this
    this.#close(undefined)
    this.#scheduler.after(this.#scheduler.between(0.05, 1), 'ended', () => {
      if (peer.#isOpen) peer.#close(undefined)
    })
  }
}
