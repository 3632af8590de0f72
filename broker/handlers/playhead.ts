/** Playhead requests: move, read and list named playheads of a topic. Calls Playheads. */
import { playheadResource } from '../../protocol/rights.ts'
import type { Handler } from '../request.ts'

/** Of one position in a reply, in memory and on the wire. */
const positionBytesMax = 64

export const commitPlayhead: Handler<'commitPlayhead'> = async (request, { services }) => {
  const { topic, name, positions, expectedVersion } = request
  return { header: { version: await services.playheads.commit({ topic, name, positions, expectedVersion }) } }
}

export const readPlayhead: Handler<'readPlayhead'> = async ({ topic, name }, { services, reply }) => {
  await reply.reserve(services.partitions.topic(topic).partitions.length * positionBytesMax)
  const playhead = await services.playheads.read(topic, name)
  return {
    header: {
      known: playhead !== undefined,
      version: playhead?.version ?? -1,
      positions: playhead?.positions ?? [],
      committedAtMs: playhead?.committedAtMs ?? 0,
    },
  }
}

export const listPlayheads: Handler<'listPlayheads'> = async ({ topic }, { services, reply, session }) => {
  // Nobody knows how many there are before they are read; few are read for one connection at once.
  await reply.reserve(services.config.fetchBytesMax)
  const playheads = await services.playheads.list(topic)
  return {
    header: {
      playheads: playheads
        .filter(({ name }) => session.may('read', playheadResource(topic, name)))
        .map(({ name, positions, committedAtMs }) => ({ name, positions, committedAtMs })),
    },
  }
}
