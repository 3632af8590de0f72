/** playhead audit: the audit topic as lines, and whether its chains hold: one of a broker by itself, in a cluster one of each broker. */
import type { Playhead, StreamEvent } from '../client/index.ts'
import { eventLine } from '../client/index.ts'
import { chainFault } from '../protocol/audit-chain.ts'
import type { AuditData } from '../protocol/audit-chain.ts'
import { PlayheadError } from '../protocol/errors.ts'
import type { Session } from './session.ts'
import { grouped } from './text-table.ts'

interface Chain {
  readonly stream: string
  readonly events: number
  readonly lost: number
  /** Hash of the last event; null = there is none. */
  readonly head: string | null
}

export async function showAudit(session: Session): Promise<void> {
  await session.connected(async (playhead) => {
    for await (const event of inOrder(playhead, await chainsOf(playhead))) await session.out.write(eventLine(event))
  })
  await session.out.flush()
}

/** Follows the chains. `head`: a hash written down earlier, which must be in one of them. Throws damagedAudit. */
export async function verifyAudit(session: Session, { head }: { readonly head?: string }): Promise<void> {
  let isHeadSeen = head === undefined
  const chains: Chain[] = []
  await session.connected(async (playhead) => {
    for (const stream of await chainsOf(playhead)) {
      chains.push(await verifyChain(playhead, stream, (hash) => (isHeadSeen ||= hash === head)))
    }
  })
  if (!isHeadSeen)
    throw new PlayheadError(
      'damagedAudit',
      `__audit: found no event with hash ${head}, wanted it; the end was cut off, or all of it written anew`,
    )
  const [first] = chains
  const sum = (count: (chain: Chain) => number) => chains.reduce((total, chain) => total + count(chain), 0)
  const [events, lost] = [sum((chain) => chain.events), sum((chain) => chain.lost)]
  if (session.isJson) {
    const whole = { events, lost, head: chains.length === 1 ? (first?.head ?? null) : null }
    return session.print(chains.length > 1 ? { ...whole, chains } : whole)
  }
  const note = lost === 0 ? '' : `; ${grouped(lost)} more were lost in floods`
  if (chains.length <= 1)
    return session.printText(`${grouped(events)} events, the chain holds${note}; last hash ${first?.head ?? 'none'}`)
  const lines = chains.map((chain) => `${chain.stream}: ${grouped(chain.events)} events, last hash ${chain.head}`)
  await session.printText([`${grouped(events)} events, all ${chains.length} chains hold${note}`, ...lines].join('\n'))
}

async function chainsOf(playhead: Playhead): Promise<string[]> {
  const streams: string[] = []
  for await (const { stream } of playhead.topic('__audit').streams({ prefix: 'audit' })) streams.push(stream)
  return streams
}

async function verifyChain(playhead: Playhead, stream: string, onHash: (hash: string) => void): Promise<Chain> {
  let previous: string | undefined
  let number: number | undefined
  let [events, lost] = [0, 0]
  for await (const { data, type, version } of playhead.topic('__audit').stream(stream).read()) {
    const event = data as AuditData
    // Where older events are no longer kept the chain begins with what the first says of the one before it.
    const fault = chainFault(data, type, number ?? event.number, previous ?? event.previous)
    if (fault !== undefined)
      throw new PlayheadError(
        'damagedAudit',
        `__audit: ${stream}: version ${version}: found ${fault}; somebody has changed what was written, or left some of it out`,
      )
    previous = event.hash
    number = event.number + 1
    events++
    lost += event.lost
    onHash(event.hash)
  }
  return { stream, events, lost, head: previous ?? null }
}

/** The events of all chains, by the time that their brokers gave them. */
async function* inOrder(playhead: Playhead, streams: readonly string[]): AsyncGenerator<StreamEvent> {
  const readers = streams.map((stream) => playhead.topic('__audit').stream(stream).read()[Symbol.asyncIterator]())
  const heads = await Promise.all(readers.map((reader) => reader.next()))
  for (;;) {
    let next = -1
    for (const [index, head] of heads.entries()) {
      const earliest = heads[next]
      if (
        head.done !== true &&
        (earliest === undefined || earliest.done === true || atOf(head.value) < atOf(earliest.value))
      )
        next = index
    }
    const head = heads[next]
    if (head === undefined || head.done === true) return
    yield head.value
    heads[next] = await readers[next]!.next()
  }
}

function atOf({ data }: StreamEvent): number {
  return (data as AuditData).atMs
}
