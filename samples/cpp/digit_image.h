/* Reads an 8x8 picture from a text file: '.' 0, '+' 0.4, '*' 0.7, '@' 1. Used from C and C++. */
#ifndef EDGEC_SAMPLES_DIGIT_IMAGE_H_
#define EDGEC_SAMPLES_DIGIT_IMAGE_H_

#include <stdio.h>

/* Fills pixels[64], row by row. 0 when the file is missing or holds fewer than 64 pixels. */
static int read_digit_image(const char *path, float *pixels) {
  FILE *file = fopen(path, "r");
  int count = 0, c;
  if (file == NULL) return 0;
  while (count < 64 && (c = fgetc(file)) != EOF) {
    if (c == '\n' || c == '\r') continue;
    pixels[count++] = c == '@' ? 1.0f : c == '*' ? 0.7f : c == '+' ? 0.4f : 0.0f;
  }
  fclose(file);
  return count == 64;
}

#endif /* EDGEC_SAMPLES_DIGIT_IMAGE_H_ */
