/** playhead audit: the audit topic as lines, and whether its chain holds. */
import type { Playhead } from '../client/index.ts'
import { eventLine } from '../client/index.ts'
import { chainFault } from '../protocol/audit-chain.ts'
import type { AuditData } from '../protocol/audit-chain.ts'
import { PlayheadError } from '../protocol/errors.ts'
import type { Session } from './session.ts'
import { grouped } from './text-table.ts'

const events = (playhead: Playhead) => playhead.topic('__audit').stream('audit').read()

export async function showAudit(session: Session): Promise<void> {
  await session.connected(async (playhead) => {
    for await (const event of events(playhead)) await session.out.write(eventLine(event))
  })
  await session.out.flush()
}

/** Follows the chain. `head`: a hash written down earlier, which must be in it. Throws damagedAudit. */
export async function verifyAudit(session: Session, { head }: { readonly head?: string }): Promise<void> {
  let previous: string | undefined
  let number: number | undefined
  let count = 0
  let lost = 0
  let headSeen = head === undefined
  await session.connected(async (playhead) => {
    for await (const { data, type, version } of events(playhead)) {
      const event = data as AuditData
      // Where older events are no longer kept the chain begins with what the first says of the one before it.
      const fault = chainFault(data, type, number ?? event.number, previous ?? event.previous)
      if (fault !== undefined)
        throw new PlayheadError(
          'damagedAudit',
          `__audit: version ${version}: found ${fault}; somebody has changed what was written, or left some of it out`,
        )
      previous = event.hash
      number = event.number + 1
      count++
      lost += event.lost
      if (event.hash === head) headSeen = true
    }
  })
  if (!headSeen)
    throw new PlayheadError(
      'damagedAudit',
      `__audit: found no event with hash ${head}, wanted it; the end was cut off, or all of it written anew`,
    )
  if (session.isJson) return session.print({ events: count, lost, head: previous ?? null })
  await session.printText(
    `${grouped(count)} events, the chain holds${lost === 0 ? '' : `; ${grouped(lost)} more were lost in floods`}; last hash ${previous ?? 'none'}`,
  )
}
