/**
 * ClientNetwork: the machine's sockets for sessions of test/sim. A session that dies takes its connections with it, as its kernel would close them.
 * Neighbours: nemesis-run.ts gives it to the sessions; test/crash/real-time.ts has the clock that goes with it.
 */
import { nodeTransport } from '../../platform/node-transport.ts'
import type { Connection, Transport } from '../../platform/transport.ts'
import type { SessionOptions } from '../sim/session.ts'
import type { SimulatedProcess } from '../sim/simulated-process.ts'

type SessionNetwork = SessionOptions['network']

export class ClientNetwork implements SessionNetwork {
  readonly #open = new Map<SimulatedProcess, Set<WeakRef<Connection>>>()

  transport(process: SimulatedProcess): Transport {
    const open = new Set<WeakRef<Connection>>()
    this.#open.set(process, open)
    return {
      ...nodeTransport,
      async connect(...args) {
        const connection = await nodeTransport.connect(...args)
        if (process.isAlive) open.add(new WeakRef(connection))
        else connection.destroy()
        return connection
      },
    }
  }

  /** Of all. */
  close(): void {
    for (const process of this.#open.keys()) this.ended(process)
  }

  ended(process: SimulatedProcess): void {
    for (const connection of this.#open.get(process) ?? []) connection.deref()?.destroy()
    this.#open.delete(process)
  }
}
