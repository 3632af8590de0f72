/**
 * MachineNetwork: a network namespace for each party of a cluster on this machine, all on one bridge, where the clients (this process) have an address too.
 * One direction between two of them can be cut: the sender takes the other for a neighbour with a link address that nobody has, so that what it sends
 * goes to nobody and nobody is told. Names carry the pid: two runs do not meet. Needs root and iproute2.
 * Invariant: what was made is gone after `remove`, which is synchronous: it is also what an exiting process calls.
 */
import { execFile, spawnSync } from 'node:child_process'
import { networkInterfaces } from 'node:os'
import { promisify } from 'node:util'

const run = promisify(execFile)
const nobody = '02:00:00:00:de:ad'
/** This process: outside of all namespaces. */
export const clients = 'clients'

interface Place {
  readonly address: string
  /** Undefined: outside of all. */
  readonly namespace: string | undefined
  readonly device: string
}

export class MachineNetwork {
  readonly #places = new Map<string, Place>()
  readonly #bridge = `ph${process.pid}b`
  readonly #subnet = freeSubnet()
  /** "<from> <to>", as often as it was cut. */
  readonly #cuts = new Map<string, number>()
  /** One change after the other. */
  #changed: Promise<unknown> = Promise.resolve()

  readonly #onExit = () => this.remove()

  private constructor() {
    process.once('exit', this.#onExit)
  }

  static async make(parties: readonly string[]): Promise<MachineNetwork> {
    const network = new MachineNetwork()
    try {
      await network.#makeBridge()
      for (const [place, party] of parties.entries()) await network.#join(party, place + 1)
    } catch (error) {
      network.remove()
      throw error
    }
    return network
  }

  addressOf(party: string): string {
    return this.#place(party).address
  }

  /** What a command begins with that runs there; it becomes that command, under the same process id. */
  within(party: string): string[] {
    const { namespace } = this.#place(party)
    return namespace === undefined ? [] : ['nsenter', `--net=/var/run/netns/${namespace}`]
  }

  /** What `from` sends to `to` gets lost from now on. Answers how to mend it. */
  async cut(from: string, to: string): Promise<() => Promise<void>> {
    await this.#count(from, to, 1)
    return () => this.#count(from, to, -1)
  }

  /** Kills nobody: whoever runs in a namespace is to be gone before. */
  remove(): void {
    process.off('exit', this.#onExit)
    for (const { namespace, device } of this.#places.values()) {
      if (namespace === undefined) continue
      spawnSync('ip', ['link', 'del', device])
      spawnSync('ip', ['netns', 'del', namespace])
    }
    spawnSync('ip', ['link', 'del', this.#bridge])
    this.#places.clear()
  }

  async #makeBridge(): Promise<void> {
    const address = `${this.#subnet}.1`
    this.#places.set(clients, { address, namespace: undefined, device: this.#bridge })
    await ip('link', 'add', this.#bridge, 'type', 'bridge')
    await ip('addr', 'add', `${address}/24`, 'dev', this.#bridge)
    await ip('link', 'set', this.#bridge, 'up')
  }

  async #join(party: string, number: number): Promise<void> {
    const namespace = `playhead-${process.pid}-${party}`
    const address = `${this.#subnet}.${10 + number}`
    const [outer, inner] = [`ph${process.pid}v${number}`, 'eth0']
    this.#places.set(party, { address, namespace, device: outer })
    await ip('netns', 'add', namespace)
    await ip('link', 'add', outer, 'type', 'veth', 'peer', 'name', inner, 'netns', namespace)
    await ip('link', 'set', outer, 'master', this.#bridge)
    await ip('link', 'set', outer, 'up')
    await ip('-n', namespace, 'addr', 'add', `${address}/24`, 'dev', inner)
    await ip('-n', namespace, 'link', 'set', inner, 'up')
    await ip('-n', namespace, 'link', 'set', 'lo', 'up')
  }

  #count(from: string, to: string, change: 1 | -1): Promise<void> {
    const key = `${from} ${to}`
    const before = this.#cuts.get(key) ?? 0
    this.#cuts.set(key, before + change)
    if (before > 0 === before + change > 0) return Promise.resolve()
    const { namespace, device } = this.#place(from)
    const at = namespace === undefined ? [] : ['-n', namespace]
    const where = [this.addressOf(to), 'dev', namespace === undefined ? device : 'eth0']
    const changing = this.#changed.then(() =>
      change === 1
        ? ip(...at, 'neigh', 'replace', where[0]!, 'lladdr', nobody, ...where.slice(1), 'nud', 'permanent')
        : ip(...at, 'neigh', 'del', ...where),
    )
    this.#changed = changing.catch(() => undefined)
    return changing
  }

  #place(party: string): Place {
    const place = this.#places.get(party)
    if (place === undefined)
      throw new Error(`network: found no ${party}, wanted one of ${[...this.#places.keys()].join(', ')}`)
    return place
  }
}

/** Throws naming what is missing. */
export function requireNamespaces(): void {
  if (process.getuid?.() !== 0)
    throw new Error(
      `found user ${process.getuid?.()}, wanted root: network namespaces are made; sudo npm run test:nemesis`,
    )
  for (const [program, ...args] of [
    ['ip', '-V', 'iproute2'],
    ['nsenter', '--version', 'util-linux'],
  ] as const) {
    const { error } = spawnSync(program, [args[0]], { stdio: 'ignore' })
    if (error !== undefined) throw new Error(`found no ${program}, wanted it to be there: apt-get install ${args[1]}`)
  }
}

async function ip(...args: readonly string[]): Promise<void> {
  await run('ip', args)
}

/** The first three numbers of one that this machine has no address in. */
function freeSubnet(): string {
  const taken = Object.values(networkInterfaces()).flatMap((each) => (each ?? []).map(({ address }) => address))
  for (let number = process.pid; ; number++) {
    const subnet = `10.${200 + ((number >> 8) % 50)}.${number & 255}`
    if (!taken.some((address) => address.startsWith(`${subnet}.`))) return subnet
  }
}
