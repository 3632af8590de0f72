/** Descriptors of files, opened and closed. Called by NodeFile, DirectReader and DirectWriter. */
import fs from 'node:fs'

/** Undefined whatever the reason: who asks has another descriptor of the file, and can do without. */
export function openIfPossible(path: string, flags: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    fs.open(path, flags, (error, descriptor) => resolve(error ? undefined : descriptor))
  })
}

export function closeDescriptor(descriptor: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.close(descriptor, (error) => (error ? reject(error) : resolve()))
  })
}
