/** The release that this is; a test compares it with package.json. */
export const release = '0.1.0'
