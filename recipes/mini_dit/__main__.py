"""`python -m recipes.mini_dit`."""

from recipes.mini_dit.train import main

if __name__ == "__main__":
    main()
