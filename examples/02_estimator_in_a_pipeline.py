"""A sparse RBM as a feature extractor, where scikit-learn's BernoulliRBM would stand."""

from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

import sparserbm as sr

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

classifier = make_pipeline(
    MinMaxScaler(clip=True),
    sr.SparseRBM(n_components=200, density=0.2, n_iter=20, learning_rate=0.06, evolution="set", random_state=0),
    LogisticRegression(C=100, max_iter=2000),
)
classifier.fit(X_train, y_train)
rbm = classifier[1]
print(f"test accuracy {classifier.score(X_test, y_test):.3f} with {rbm.connections_.nnz:,} connections of {64 * 200:,}")
