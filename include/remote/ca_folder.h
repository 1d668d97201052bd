/* Whether the folder of certificates holds all that the bundle file holds. */
#ifndef REMOTE_CA_FOLDER_H
#define REMOTE_CA_FOLDER_H

#include <stdbool.h>

/*
 * True when bundle, a file of certificates in PEM form, is as long as all files together that
 * folder has under the names by which OpenSSL finds certificates (eight digits of a hash and a
 * number). Then the bundle need not be read: update-ca-certificates makes it of just these files.
 * The lengths differ when somebody has put authorities of his own into one of the two, or has
 * replaced it. False, too, when either cannot be read or holds nothing. Any thread; looks at files.
 */
bool ca_folder_is_whole(const char *folder, const char *bundle);

#endif
