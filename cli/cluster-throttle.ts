/** playhead cluster throttle: how fast brokers copy to replicas that are being added to them. */
import { UsageError } from './failure-report.ts'
import type { Session } from './session.ts'
import { grouped } from './text-table.ts'

export interface ThrottleFlags {
  readonly off?: boolean
}

export async function throttle(
  session: Session,
  bytesPerSecond: number | undefined,
  { off = false }: ThrottleFlags,
): Promise<void> {
  if ((bytesPerSecond === undefined) !== off) {
    const found = off ? 'both of a limit and --off' : 'neither of a limit and --off'
    throw new UsageError(`cluster throttle: found ${found}, wanted one`)
  }
  await session.connected((playhead) => playhead.cluster.throttle(bytesPerSecond))
  if (session.isJson) return session.print({ bytesPerSecond: bytesPerSecond ?? null })
  await session.printText(throttleText(bytesPerSecond) ?? 'brokers copy to new replicas as fast as it goes')
}

/** undefined when there is no limit. */
export function throttleText(bytesPerSecond: number | undefined): string | undefined {
  if (bytesPerSecond === undefined) return undefined
  return `each broker copies at most ${grouped(bytesPerSecond)} bytes a second to new replicas; playhead cluster throttle --off lifts that`
}
