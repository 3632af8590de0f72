/** The files of a data directory whose names end so, wherever they lie in it, sorted: those of one log are in the order in which they were made. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'

export async function pathsIn(directory: string, suffix: string): Promise<string[]> {
  const names = await readdir(directory, { recursive: true })
  return names
    .filter((name) => name.endsWith(suffix))
    .toSorted()
    .map((name) => join(directory, name))
}
