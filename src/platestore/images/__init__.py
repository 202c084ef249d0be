"""Images as wholes: arrays created, replaced and given levels together with their documents."""
