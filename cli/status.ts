/** playhead status: what the broker is and uses. Exit code 1 when it names problems. */
import { PlayheadError } from '../protocol/errors.ts'
import type { Session } from './session.ts'
import { bytesText, grouped } from './text-table.ts'

export async function status(session: Session): Promise<void> {
  const reply = await session.connected((playhead) => playhead.status())
  if (session.isJson) return session.print(reply)
  const lines: [string, string][] = [
    ['release', reply.release],
    ['broker', `${reply.brokerId} of cluster ${reply.clusterId}`],
    ['data', reply.dataDirectory],
    ['up', `${grouped(Math.round(reply.uptimeMs / 1000))} s`],
    ['topics', `${grouped(reply.topics)}, partitions ${grouped(reply.partitions)}`],
    ['log', bytesText(reply.logBytes)],
    ['memory', bytesText(reply.rssBytes)],
    ['cpu', `${(reply.cpuMs / 1000).toFixed(1)} s`],
    ['connections', grouped(reply.connections)],
    ['problems', reply.problems.length === 0 ? 'none' : reply.problems.join('; ')],
  ]
  await session.printText(lines.map(([name, value]) => `${name.padEnd(12)} ${value}`).join('\n'))
  if (reply.problems.length > 0) {
    throw new PlayheadError(
      'damagedData',
      `${reply.dataDirectory}: found ${reply.problems.join('; ')}, wanted no problems`,
    )
  }
}
