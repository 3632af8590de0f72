/**
 * What follows from a topic's settings: how many replicas of a partition must be in sync. The default is the majority of its replicas: with three, any
 * one may be lost and writing goes on, and what is acknowledged is on two disks at least.
 * Neighbours: topic-changes.ts makes new partitions with it, controller-plan.ts brings those that are there in line with it.
 */
export const isrMinSetting = 'min.insync.replicas'

export function isrMinOf(settings: Readonly<Record<string, string>>, replicas: number): number {
  return Math.min(isrMinSetOf(settings) ?? Math.floor(replicas / 2) + 1, replicas)
}

/** The number that somebody set; undefined = the majority. */
export function isrMinSetOf(settings: Readonly<Record<string, string>>): number | undefined {
  const text = settings[isrMinSetting]
  return text === undefined || text === 'majority' ? undefined : Number(text)
}
