/** PackagePath: where the package's own files are, from a checkout and from an installed package alike. Called by the demo. */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The absolute path of a file of the package, e.g. `packagePath('bin', 'playhead')`. */
export function packagePath(...parts: string[]): string {
  let directory = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(directory, 'package.json'))) {
    const parent = dirname(directory)
    if (parent === directory) throw new Error('the package has no package.json')
    directory = parent
  }
  return join(directory, ...parts)
}
