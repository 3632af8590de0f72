/**
 * What follows from a topic's settings: how many replicas of a partition must be in sync. The default is the majority of its replicas: with three, any
 * one may be lost and writing goes on, and what is acknowledged is on two disks at least.
 * Neighbours: topic-changes.ts makes new partitions with it, controller-plan.ts brings those that are there in line with it.
 */
export const isrMinSetting = 'min.insync.replicas'

export function isrMinOf(settings: Readonly<Record<string, string>>, replicas: number): number {
  const text = settings[isrMinSetting]
  return text === undefined || text === 'majority' ? Math.floor(replicas / 2) + 1 : Math.min(Number(text), replicas)
}
