/* Whether the folder of certificates holds all that the bundle file holds. */
#ifndef REMOTE_CA_FOLDER_H
#define REMOTE_CA_FOLDER_H

#include <stdbool.h>

/*
 * True when folder has at least as many certificates under the names by which OpenSSL finds them
 * (eight digits of a hash and a number) as bundle, a file of certificates in PEM form, holds. Then
 * the bundle need not be read into memory: Debian's update-ca-certificates makes both of the same.
 * They differ when somebody has put authorities of his own into one of them only. False, too,
 * when either cannot be read or holds none. Any thread; reads files.
 */
bool ca_folder_is_whole(const char *folder, const char *bundle);

#endif
