/** /api/status: the broker and what it has done since its start. /api/settings: what it was started with. */
import { brokerSettings } from '../../config.ts'
import { shownValue } from '../../setting.ts'
import type { BrokerSetting } from '../../setting.ts'
import { cluster } from '../../../protocol/rights.ts'
import type { Services } from '../../request.ts'
import type { FollowFeeds } from '../follow/follow-feeds.ts'
import type { RouteRights } from '../guard.ts'
import type { HttpRoutes } from '../http-routes.ts'
import * as schemas from '../schemas.ts'

const rights: RouteRights = (session) => session.require('read', cluster)

export function statusRoutes(server: HttpRoutes, services: Services, feeds: FollowFeeds): void {
  const statusSchema = { summary: 'The broker: what it is and does', response: { 200: schemas.statusAnswer } }
  server.get('/api/status', { schema: statusSchema, config: { rights } }, async () => ({
    ...services.status(),
    counters: { ...logCounters(services), ...feeds.stats, followers: feeds.count },
  }))
  const settingsSchema = { summary: 'Settings in force', response: { 200: schemas.settingsAnswer } }
  server.get('/api/settings', { schema: settingsSchema, config: { rights } }, async () => {
    const rows = Object.entries<BrokerSetting>(brokerSettings).map(([name, setting]) => ({
      name,
      value: shownValue(setting, Reflect.get(services.config, name) as string | number),
      default: setting.default,
      unit: setting.kind === 'integer' ? setting.unit : setting.kind,
      doc: setting.doc,
    }))
    return { settings: rows }
  })
}

/** What the logs have counted, summed up. */
function logCounters({ partitions }: Services): Record<string, number> {
  const sums: Record<string, number> = {}
  for (const { log, waiting } of partitions.all()) {
    for (const [name, value] of Object.entries({ ...log.stats, waitingReaders: waiting })) {
      sums[name] = (sums[name] ?? 0) + value
    }
  }
  return sums
}
