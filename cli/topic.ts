/** playhead topic …: create, list, describe, alter, trim, delete. For people by default, JSON with --json. */
import type { TopicDescription } from '../client/index.ts'
import { placeOf, settingsOf } from './arguments.ts'
import { confirm } from './confirmation.ts'
import { UsageError } from './failure-report.ts'
import type { Session } from './session.ts'
import { table, withUnit } from './text-table.ts'

export interface CreateFlags {
  readonly partitions?: number
  readonly replicationFactor?: number
  readonly config: readonly string[]
}

export async function createTopic(session: Session, name: string, flags: CreateFlags): Promise<void> {
  const { partitions, replicationFactor } = flags
  const settings = settingsOf('--config', flags.config)
  const created = await session.connected((playhead) =>
    playhead.admin.createTopic(name, {
      settings,
      ...(partitions !== undefined && { partitions }),
      ...(replicationFactor !== undefined && { replicationFactor }),
    }),
  )
  if (session.isJson) return session.print({ topic: name, ...created })
  await session.printText(`created topic ${name} with ${withUnit(created.partitions, 'partition')}`)
}

export async function listTopics(session: Session, { internal }: { readonly internal?: boolean }): Promise<void> {
  const topics = await session.connected((playhead) => playhead.admin.listTopics({ internal: internal === true }))
  if (session.isJson) {
    for (const topic of topics) await session.print(topic)
    return
  }
  if (topics.length === 0) return session.note('no topics yet; playhead topic create NAME makes one')
  await session.printText(
    table(
      ['topic', 'partitions', 'id'],
      topics.map(({ topic, partitions, topicId }) => [topic, partitions, topicId]),
    ),
  )
}

export async function describeTopic(session: Session, name: string): Promise<void> {
  const described = await session.connected((playhead) => playhead.admin.describeTopic(name))
  if (session.isJson) return session.print(described)
  await session.printText(descriptionText(described))
}

export async function alterTopic(
  session: Session,
  name: string,
  flags: { readonly config: readonly string[] },
): Promise<void> {
  const given = Object.entries(settingsOf('--config', flags.config))
  if (given.length === 0) throw new UsageError('--config: found no setting, wanted at least one key=value')
  const settings = Object.fromEntries(given.map(([key, value]) => [key, value === '' ? null : value]))
  await session.connected((playhead) => playhead.admin.alterTopic(name, settings))
  if (session.isJson) return session.print({ topic: name, altered: Object.keys(settings) })
  await session.printText(`altered ${Object.keys(settings).join(', ')} of topic ${name}`)
}

export async function deleteTopic(session: Session, name: string, flags: { readonly yes?: boolean }): Promise<void> {
  await session.connected(async (playhead) => {
    const { partitions } = await playhead.admin.describeTopic(name)
    if (flags.yes !== true) {
      const records = partitions.reduce(
        (sum, { highWatermark, logStartOffset }) => sum + highWatermark - logStartOffset,
        0,
      )
      await ask('delete', name, `Delete topic ${name} with ${withUnit(records, 'record')}`)
    }
    await playhead.admin.deleteTopic(name)
  })
  if (session.isJson) return session.print({ topic: name, deleted: true })
  await session.printText(`deleted topic ${name}`)
}

export interface TrimFlags {
  readonly before: string
  readonly partition?: number
  readonly yes?: boolean
}

/** A time is that of the append, as it is for retention. */
export async function trimTopic(session: Session, name: string, flags: TrimFlags): Promise<void> {
  const place = placeOf('--before', flags.before)
  const starts = await session.connected(async (playhead) => {
    const { partition } = flags
    const before = await playhead
      .topic(name)
      .positions(place, { clock: 'append', ...(partition !== undefined && { partition }) })
    if (flags.yes !== true) {
      const { partitions } = await playhead.admin.describeTopic(name)
      const startOf = (wanted: number) => partitions.find((each) => each.partition === wanted)?.logStartOffset ?? 0
      const records = before.reduce((sum, each) => sum + Math.max(0, each.offset - startOf(each.partition)), 0)
      await ask('trim', name, `Remove the oldest ${withUnit(records, 'record')} of topic ${name}`)
    }
    return playhead.admin.deleteRecords(name, before)
  })
  if (session.isJson) return session.print({ topic: name, partitions: starts })
  await session.printText(
    table(
      ['partition', 'start'],
      starts.map(({ partition, logStartOffset }) => [partition, logStartOffset]),
    ),
  )
}

async function ask(command: string, name: string, question: string): Promise<void> {
  await confirm({ command: `topic ${command} ${name}`, name, question, otherwise: 'nothing deleted' })
}

function descriptionText({ topic, topicId, settings, partitions }: TopicDescription): string {
  const damaged = partitions.flatMap(({ partition, damage }) =>
    damage.map((reason) => `partition ${partition}: ${reason}`),
  )
  return [
    `topic ${topic}, id ${topicId}`,
    '',
    table(
      ['partition', 'start', 'high watermark', 'end', 'segments', 'bytes', 'leader epoch', ...placeNames(partitions)],
      partitions.map((p) => [
        p.partition,
        p.logStartOffset,
        p.highWatermark,
        p.logEndOffset,
        p.segments,
        p.sizeBytes,
        p.leaderEpoch,
        ...placeCells(p),
      ]),
    ),
    '',
    table(
      ['setting', 'value', 'from'],
      settings.map(({ name, value, source }) => [name, value, source]),
    ),
    ...(damaged.length === 0 ? [] : ['', 'damaged:', ...damaged]),
  ].join('\n')
}

/** Only in a cluster. */
function placeNames(partitions: TopicDescription['partitions']): string[] {
  return partitions.some(({ replicas }) => replicas !== undefined) ? ['leader', 'replicas', 'in sync'] : []
}

function placeCells({ leader, replicas, inSync = [] }: TopicDescription['partitions'][number]): (string | number)[] {
  return replicas === undefined ? [] : [leader?.broker ?? 'nobody', replicas.join(', '), inSync.join(', ')]
}
